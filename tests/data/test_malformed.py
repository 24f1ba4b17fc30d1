"""Bad input is answered with one line that says where, what was expected, and what was found."""

from __future__ import annotations

import gzip
import os

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from truestep.data import csv_file, load
from truestep.errors import InputError


def table(*, head="x,g,y", rows=30, **changed):
    """Return a CSV file that can be learnt from, but for the lines given as `l7="..."`."""
    lines = [head] + [f"{i * 0.5},{'ab'[i % 2]},{('no', 'yes')[i % 3 == 0]}" for i in range(rows)]
    for line, text in changed.items():
        lines[int(line[1:]) - 1] = text
    return "\n".join(lines) + "\n"


FILES = [
    ("empty", "", "expected a header and rows, found an empty file"),
    ("blank", " \n\n", "expected a header and rows, found an empty file"),
    ("header only", "x,y\n", "expected rows below the header, found none"),
    ("short row", table(l7="1,a"), "x.csv, line 7: expected 3 cells as in the header, found 2 (separated by comma)"),
    ("long row", table(l9="1,a,no,4"), "x.csv, line 9: expected 3 cells as in the header, found 4"),
    ("same name twice", table(head="x,x,y"), "line 1: expected every column to have its own name, found more than one 'x'"),
    ("open quote", table(l5='1,"a,no'), "x.csv, line 5: the quotes of this row don't pair up"),
    ("text behind a quote", table(l5='1,"a"b,no'), "x.csv, line 5: the quotes of this row don't pair up"),
    ("NUL", table(l4="1,a\0,no"), "x.csv, line 4: expected text, found a NUL byte"),
    ("Latin-1", table(l6="1,ä,no").encode("latin-1"), "line 6: expected UTF-8 text, found the byte 0xe4. If the file is Latin-1, convert it: iconv"),
    ("Latin-1 behind a mark", b"\xef\xbb\xbf" + table(l6="1,ä,no").encode("latin-1"), "line 6: expected UTF-8 text, found the byte 0xe4"),
    ("UTF-16", table().encode("utf-16"), "expected UTF-8 text, found UTF-16. Convert it: iconv"),
    ("few rows", table(rows=9), "x.csv: expected at least 10 rows to learn from, found 9"),
    ("infinite", table(l8="inf,a,no"), "x.csv, line 8, column 'x': expected a finite number, found 'inf'"),
    ("overflow", table(l8="1e999,a,no"), "x.csv, line 8, column 'x': expected a finite number, found '1e999'"),
    ("too large", table(l8="1e300,a,no", l9="-1e300,a,no", l10="1e300,b,no"), "column 'x': the numbers are too large to be scaled"),
    ("one class", table().replace("yes", "no"), "column 'y': expected targets that differ, found 'no' in every row"),
    ("names as target", "x,y\n" + "".join(f"{i * 0.5},name{i}\n" for i in range(30)), "column 'y': expected classes with several rows each, found 30 different values in 30 rows. Is this the column to learn?"),
    ("money as target", "x,y\n" + "".join(f"{i * 0.5},${i}.50\n" for i in range(30)), "found 30 different values in 30 rows. '$0.50' looks like a number; plain numbers, such as 1000.5, would be read as such."),
    ("decimal commas as target", "x;y\n" + "".join(f"{i * 0.5};{i},5\n" for i in range(30)), "found 30 different values in 30 rows. '0,5' looks like a number"),
    ("no header cell but rows", "\n\n,,\n" + "1,2\n" * 30, "x.csv, line 4: expected 3 cells as in the header, found 2"),
    ("short row behind blank lines", table(l7="\n\n1,a"), "x.csv, line 9: expected 3 cells as in the header, found 2"),
    ("short row behind a break in quotes", table(l5='1,"a\n\nb",no', l7="1,a"), "x.csv, line 9: expected 3 cells as in the header, found 2"),
    ("long row of quotes", table(l9='"1","a","no","4"'), "x.csv, line 9: expected 3 cells as in the header, found 4"),
    ("short row, CRLF", table(l7="1,a").replace("\n", "\r\n"), "x.csv, line 7: expected 3 cells as in the header, found 2"),
    ("short row, CR only", table(l7="1,a").replace("\n", "\r"), "x.csv, line 7: expected 3 cells as in the header, found 2"),
    ("mixed line ends", table(l7="1,a").replace("\n", "\r\n", 3).replace("no\n", "no\r", 2), "x.csv, line 7: expected 3 cells as in the header, found 2"),
    ("NUL, CR only", table(l4="1,a\0,no").replace("\n", "\r"), "x.csv, line 4: expected text, found a NUL byte"),
    ("NUL in quotes", table(l4='1,"a\0",no'), "x.csv, line 4: expected text, found a NUL byte"),
    ("NUL in the header", table(head="x,g\0,y"), "x.csv, line 1: expected text, found a NUL byte"),
    ("Latin-1 header", table(head="x,größe,y").encode("latin-1"), "line 1: expected UTF-8 text, found the byte 0xf6"),
    ("UTF-16 without a mark", table().encode("utf-16-le"), "x.csv, line 1: expected text, found a NUL byte"),
    ("UTF-32", table().encode("utf-32"), "found UTF-16"),
    ("same name but for spaces", table(head="x, x ,y"), "line 1: expected every column to have its own name, found more than one 'x'"),
    ("empty and its number", table(head=",column_1,y"), "found more than one 'column_1'"),
    ("all names the same", ",".join(["a"] * 30) + "\n1\n", "found more than one 'a'."),
    ("many same names", ",".join(f"c{i // 2}" for i in range(60)) + "\n1\n", "and 10 more."),
    ("trailing separators", table().replace("no\n", "no,\n").replace("yes\n", "yes,\n"), "x.csv, line 2: expected 3 cells as in the header, found 4"),
    ("comment below the header", table(l5="# a comment, here"), "x.csv, line 5: expected 3 cells as in the header, found 2"),
    ("comment only", "# nothing here\n", "expected rows below the header, found none"),
    ("header only, CR", "x,y\r", "expected rows below the header, found none"),
    ("header without an end", "x,y", "expected rows below the header, found none"),
    ("mark only", b"\xef\xbb\xbf", "expected a header and rows, found an empty file"),
    ("open quote in the header", table(head='x,"g,y'), "line 1: the quotes of this row don't pair up"),
    ("quote behind a space", table(l5='1, "a,b",no'), "x.csv, line 5: expected 3 cells as in the header, found 4"),
    ("open quote at the end", table() + '1,"a', "x.csv, line 32: the quotes of this row don't pair up"),
    ("text behind a huge cell", table(l5=f'1,"{"a" * 200_000}"b,no'), "x.csv, line 5: the quotes of this row don't pair up"),
    ("no column but the target", "y\n" + "no\nyes\n" * 20, "expected a column to learn from besides 'y', found none"),
    ("too many columns", ",".join(f"c{i}" for i in range(100_000)) + "\n", "x.csv, line 1: expected at most 20,000 columns, found 100,000."),
    ("infinite in a form", "x,y\n" + "".join(f"${i},{i % 2}\n" for i in range(30)) + "$1e999,1\n", "x.csv, line 32, column 'x': expected a finite number, found '$1e999'"),
    ("another target class of spaces", "x,y\n" + "".join(f"{i * 0.5},  \n" for i in range(30)), "x.csv, column 'y': expected targets to learn or to compare with, found none: the whole column is empty"),
    ("nothing to learn from", "c,y\n" + "".join(f"7,{i % 2}\n" for i in range(30)), "expected a column to learn from besides 'y', found none. column 'c' ignored: it is '7' in every row"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_a_malformed_file_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "x.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(words, path, target="y")


def test_what_is_refused_in_a_file_of_commas_is_refused_in_one_of_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "BLOCK", 50)
    for _, content, words in FILES:
        path = tmp_path / "x.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        refused(words, path, target="y")
    assert len(FILES) >= 45


def test_a_row_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "BLOCK", 50)
    monkeypatch.setattr(csv_file, "LONGEST_ROW", 2000)
    (tmp_path / "x.csv").write_text("x" * 3000)
    refused("x.csv: expected rows, found 0 MB without a line end", tmp_path / "x.csv", target="y")
    (tmp_path / "x.csv").write_text('x,y\n1,"' + "a\n" * 3000)
    refused("x.csv, line 2: the quotes of this row don't pair up", tmp_path / "x.csv", target="y")


CHOICES = [
    ({}, "x.csv: expected the name of the column to learn, found no target. Give --target COLUMN, one of: x, g, y."),
    ({"target": "yy"}, "expected a column 'yy', found x, g, y. Did you mean"),
    ({"target": "y", "drop": ["h"]}, "data.drop: expected names of columns (x, g, y), found 'h'"),
    ({"target": "y", "drop": ["y"]}, "expected columns to learn from, found the target 'y'"),
    ({"target": "y", "drop": ["x", "g"]}, "expected a column to learn from besides 'y', found none"),
    ({"target": "y", "kinds": {"xx": "id"}}, "data.kinds: expected names of columns (x, g, y), found 'xx'."),
    ({"target": "y", "kinds": {"x": "number"}}, "data.kinds.x: expected one of numeric, boolean, date"),
    ({"target": "y", "kinds": {"g": "numeric"}}, "x.csv, line 2, column 'g': expected a number, found 'a'"),
    ({"target": "y", "kinds": {"g": "date"}}, "x.csv, line 2, column 'g': expected a date such as 2026-01-31, found 'a'"),
    ({"target": "y", "kinds": {"x": "boolean"}}, "x.csv, line 2, column 'x': expected true or false, found '0.0'"),
    ({"target": "y", "kinds": {"g": "ignored", "x": "id"}}, "expected a column to learn from besides 'y'"),
    ({"target": "y", "task": "multi-class"}, "objective: expected auto, multiclass, binary, multilabel, regression, next-token, found 'multi-class'. Did you mean 'multiclass'?"),
    ({"target": "y", "task": "next-token"}, "x.csv: expected one column of texts to learn the next token of, found none"),
    ({"target": "y", "task": "multilabel"}, "objective: 'multilabel' needs one 0/1 target for every label, found the column 'y'"),
    ({"target": "y", "task": "regression"}, "x.csv, line 2, column 'y': expected a number, found 'yes'"),
    ({"target": "x", "task": "multiclass"}, "x.csv, line 3, column 'x': expected a class for multiclass, found the number 0.5. For numbers use --objective regression."),
    ({"target": "y", "valid": 0.6, "test": 0.6}, "valid + test: expected less than 1, found 1.2"),
]  # fmt: skip


@pytest.mark.parametrize(("choices", "words"), CHOICES)
def test_a_wrong_choice_is_refused_in_one_line(tmp_path, choices, words):
    path = tmp_path / "x.csv"
    path.write_text(table())
    refused(words, path, **choices)


def test_what_is_no_file_is_refused_in_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "iris.csv").touch()
    (tmp_path / "x.xlsx").touch()
    (tmp_path / "bad.csv.gz").write_bytes(gzip.compress(table().encode())[:-20])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 is how it begins")
    pl.DataFrame({"x": []}).write_parquet(tmp_path / "none.parquet")
    refused("expected a file, found none (No such file or directory). Did you mean 'iris.csv'?", tmp_path / "irs.csv")
    refused("expected a folder of images or of .txt files, or of folders of them", tmp_path)
    refused("expected a regular file, found a pipe or a device", tmp_path / "pipe.csv")
    refused("expected a regular file, found a pipe or a device", "/dev/zero")
    refused("expected one of .csv, .tsv, .csv.gz, .tsv.gz, .parquet, found '.xlsx'", tmp_path / "x.xlsx")
    refused("bad.csv.gz: can't be read", tmp_path / "bad.csv.gz", target="y")
    refused("bad.parquet: expected a Parquet file, but it can't be read", tmp_path / "bad.parquet", target="y")
    refused("none.parquet: expected rows, found none", tmp_path / "none.parquet", target="x")
    refused("'a\\x00.csv': not the name of a file", "a\0.csv")
    refused(
        "expected a file or one of digits, iris, wine, breast-cancer, diabetes, penguins, flights, speeches, speeches-text, "
        "found neither. Did you mean 'digits'?",
        "digts",
    )
    refused("data: expected the name of a data set, a file, a polars or pandas frame", 3)


class Examples(Dataset):
    def __init__(self, *examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, row):
        return self.examples[row]


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.ones(3), 1


X = np.linspace(0, 1, 60).reshape(20, 3)
Y = np.arange(20) % 2
ARRAYS = [
    ((X,), "data: expected arrays of inputs and targets, in a dict or a pair, found ndarray"),
    ((X, Y[:-1]), "data: expected as many targets as inputs, found 20 inputs, 19 targets"),
    ((X[:, 0], Y), "inputs: expected shape (N, features) or (N, ...), found (20,)"),
    ((X[:, :0], Y), "inputs: expected at least one number in each of some rows, found shape (20, 0)"),
    ((X.astype(str), Y), "inputs: expected an array of numbers, found <U"),
    (([[1, 2]], Y), "data: expected arrays of inputs and targets, in a dict or a pair, found list"),
    ((X, Y[:, None, None]), "targets: expected shape (N,) or (N, K), found (20, 1, 1)"),
    ((X[:5], Y[:5]), "inputs: expected at least 10 rows to learn from, found 5"),
    ((np.where(X[7, 1] == X, np.nan, X), Y), "inputs, row 7, place (1,): expected a finite number, found nan"),
    ((X * 1e200, Y), "inputs: the numbers are too large to be scaled"),
    ((X, np.where(np.arange(20) == 4, np.nan, X[:, 0])), "targets, row 4: expected a target in every row"),
    ((X, np.where(X[7, 1] == X, np.inf, X)), "targets, row 7: expected finite numbers, found"),
    ((X, np.zeros(20)), "targets: expected targets that differ, found '0' in every row"),
    ((X, np.where(np.arange(20) == 4, 1e300, X[:, 0])), "targets, row 4: expected numbers like those in training, found one too large"),
    ((X, np.where(X[7, 1] == X, 1e300, X)), "targets, row 7: expected numbers like those in training, found one too large"),
    ((np.where(X[7, 1] == X, 1e300, X)[:, None], Y), "inputs, row 7: expected numbers like those in training, found one too large"),
    (Examples(), "dataset, train: expected examples, found none"),
    (Examples(*[torch.ones(3)] * 20), "dataset, example 0: expected a pair (input, target), found Tensor"),
    (Examples(*[(torch.ones(3, dtype=torch.uint8), 1)] * 20), "dataset: expected inputs that are one tensor in float32, found torch.uint8"),
    (Examples((torch.ones(3), 1), (torch.ones(4), 1)), "dataset, example 1: expected inputs (3,) and targets () as in example 0, found (4,) and ()"),
    (Examples(*[(torch.ones(3), 1 + i % 2) for i in range(20)]), "dataset: expected classes as whole numbers 0, 1, 2, ... without a gap, found int64 of 1, 2"),
    (Examples((torch.ones(3), "cat")), "targets: expected a NumPy array or a tensor, found str"),
    (Examples((torch.ones(3), torch.ones(2, 2))), "dataset, example 0: expected a target () or (K,), found shape (2, 2)"),
    (Stream(), "Stream: expected validation data beside a dataset that can't be split"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "words"), ARRAYS)
def test_arrays_and_datasets_that_do_not_fit_are_refused_in_one_line(source, words):
    refused(words, source)


def test_arrays_have_no_columns_to_choose():
    refused("expected none of them for arrays and datasets", (X, Y), target="y")
    refused("targets: expected shape (N,) for multiclass, found (20, 3)", (X, X), task="multiclass")
    refused("targets, row 0: expected 0 or 1 for every label", (X, X + 2), task="multilabel")
    refused(
        "expected 2 classes for binary, found 5 (0, 1, 2, 3, 4). Use --objective multiclass.",
        (X, np.arange(20) % 5),
        task="binary",
    )


def refused(words, source, **choices):
    with pytest.raises(InputError) as error:
        load(source, **choices)
    message = str(error.value)
    assert words in message
    assert len(message.splitlines()) == 1
