"""Text files and folders of them as tables, and what is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truestep.data.table import Table
from truestep.data.texts import (
    SHORTEST_PIECE,
    cut_document,
    is_text_folder,
    read_text_table,
    read_texts,
    text_keys,
    texts_of,
)
from truestep.errors import InputError


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_a_folder_per_class_is_read_in_the_order_of_names(tmp_path):
    folder = write(
        tmp_path / "reviews",
        {
            "pos/b.txt": "Good.",
            "pos/a.TXT": "Fine.",
            "neg/a.txt": "Bad.",
            "neg/.hidden.txt": "No.",
            ".git/x.txt": "No.",
        },
    )
    table = read_text_table(folder)
    assert table.frame.to_dict(as_series=False) == {
        "file": ["neg/a.txt", "pos/a.TXT", "pos/b.txt"],
        "text": ["Bad.", "Fine.", "Good."],
        "label": ["neg", "pos", "pos"],
    }
    assert (table.name, table.target, table.belongs, table.notes) == ("reviews", "label", None, [])
    assert table.kinds["text"] == "text"
    assert table.folder == folder


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "dev"])
def test_folders_of_splits_say_where_each_text_belongs(tmp_path, valid):
    files = {f"{split}/{label}/1.txt": f"{split} {label}" for split in ("train", valid, "test") for label in "ab"}
    table = read_text_table(write(tmp_path, files))
    assert table.frame["label"].to_list() == ["a", "b"] * 3
    assert table.belongs == [0, 0, 1, 1, 2, 2]
    assert table.frame["file"][2] == f"{valid}/a/1.txt"


def test_splits_may_hold_texts_without_classes_and_classes_may_be_called_as_splits_are(tmp_path):
    table = read_text_table(write(tmp_path / "a", {"train/1.txt": "x", "test/2.txt": "y"}))
    assert (table.frame.columns, table.belongs) == (["file", "text"], [0, 2])
    table = read_text_table(write(tmp_path / "b", {"train/1.txt": "x", "bus/2.txt": "y"}))
    assert (table.frame["label"].to_list(), table.belongs) == (["bus", "train"], None)


def test_a_flat_folder_and_a_single_file_have_no_label(tmp_path):
    write(tmp_path, {"b.txt": "two", "a.txt": "one"})
    assert read_text_table(tmp_path).frame.to_dict(as_series=False) == {
        "file": ["a.txt", "b.txt"],
        "text": ["one", "two"],
    }
    table = read_text_table(tmp_path / "a.txt")
    assert table.frame.to_dict(as_series=False) == {"text": ["one"]}
    assert table.name == "a.txt"


def test_other_files_are_counted_in_a_note(tmp_path):
    write(tmp_path, {"a/1.txt": "x", "b/1.txt": "y", "README.txt": "how", "b/data.csv": "1", "b/old/2.txt": "z"})
    os.mkfifo(tmp_path / "a" / "pipe.txt")
    table = read_text_table(tmp_path)
    assert len(table.frame) == 2
    assert table.notes == [
        f"{tmp_path.name}: 4 other files passed over (README.txt, a/pipe.txt, b/data.csv and 1 more)."
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_text_means_the_same_with_any_line_ends_and_mark(tmp_path, ending):
    write(tmp_path, {"a.txt": b"\xef\xbb\xbf" + f"é{ending}{ending}b{ending}".encode()})
    assert read_text_table(tmp_path / "a.txt").frame["text"].to_list() == ["é\n\nb\n"]
    table = Table(pl.DataFrame({"t": [f"é{ending}{ending}b{ending}", None]}), "t")
    assert texts_of(table, "t") == ["é\n\nb\n", ""]


def test_a_folder_of_texts_is_told_from_others(tmp_path):
    assert is_text_folder(write(tmp_path / "classes", {"a/1.txt": "x", "b/1.txt": "y", "README.md": ""}))
    assert is_text_folder(write(tmp_path / "flat", {"1.txt": "x"}))
    assert is_text_folder(write(tmp_path / "split", {"train/a/1.txt": "x", "test/a/1.txt": "y"}))
    images = {f"{label}/{number}.png": "" for label in "ab" for number in range(3)}
    assert not is_text_folder(
        write(tmp_path / "images", images | {"README.txt": "x", "LICENSE.txt": "y", "c.txt": "z"})
    )
    assert not is_text_folder(write(tmp_path / "noted", images | {"a/notes.txt": "x"}))
    assert not is_text_folder(write(tmp_path / "empty", {".hidden.txt": ""}))
    assert not is_text_folder(tmp_path / "flat" / "1.txt")
    assert not is_text_folder(tmp_path / "none")


GOOD = {"a/1.txt": "x", "b/1.txt": "y"}
TRAIN = {f"train/{name}": text for name, text in GOOD.items()}
MALFORMED = [
    ("empty folder", {".keep": ""}, "", "data: expected .txt files, or a folder of them for each class, found none."),
    ("no text", {"a/1.csv": "x", "b/2.csv": "y"}, "", "data: expected .txt files, or a folder of them for each class, found none."),
    ("empty class", {**GOOD, "c/1.csv": ""}, "", "data/c/: expected .txt files, found none. Move the folder elsewhere if it is no part of the data."),
    ("empty file", {**GOOD, "b/2.txt": ""}, "", "data/b/2.txt: expected text, found an empty file."),
    ("blank file", {**GOOD, "b/2.txt": b"\xef\xbb\xbf \r\n"}, "", "data/b/2.txt: expected text, found an empty file."),
    ("NUL", {**GOOD, "b/2.txt": "x\ny\0z"}, "", "data/b/2.txt, line 2: expected text, found a NUL byte; is this really a text file?"),
    ("Latin-1", {**GOOD, "b/2.txt": "x\n\nä".encode("latin-1")}, "", "data/b/2.txt, line 3: expected UTF-8 text, found the byte 0xe4. If the file is Latin-1, convert it: iconv"),
    ("Latin-1 behind a mark", {"1.txt": b"\xef\xbb\xbfx\n" + "ä".encode("latin-1")}, "", "data/1.txt, line 2: expected UTF-8 text, found the byte 0xe4."),
    ("cut character", {"1.txt": "xä".encode()[:-1]}, "", "data/1.txt, line 1: expected UTF-8 text, found the byte 0xc3."),
    ("UTF-16", {"1.txt": "text".encode("utf-16")}, "", "data/1.txt: expected UTF-8 text, found UTF-16 or UTF-32. Convert it with iconv -t utf-8."),
    ("UTF-32", {"1.txt": "\ufefftext".encode("utf-32-be")}, "", "data/1.txt: expected UTF-8 text, found UTF-16 or UTF-32."),
    ("class unknown to train", {**TRAIN, "test/bb/1.txt": "z"}, "", "data/test/bb/: expected a class that train has too (a, b), found 'bb'."),
    ("split without classes", {**TRAIN, "test/1.txt": "z"}, "", "data: expected every split to have the same classes, found train/a/*.txt but test/*.txt."),
    ("empty split", {**TRAIN, "test/1.csv": "z"}, "", "data/test/: expected .txt files, found none."),
    ("empty flat split", {"train/1.txt": "x", "test/1.csv": "z"}, "", "data/test/: expected .txt files, found none."),
    ("only empty train", {"train/1.csv": "x"}, "", "data: expected .txt files, or a folder of them for each class, found none."),
    ("no file", {"1.txt": "x"}, "2.txt", "2.txt: the file can't be read (No such file or directory)."),
    ("no folder", {"1.txt": "x"}, "texts", "texts: expected a .txt file or a folder of them, found 'texts'."),
    ("other format", {"1.doc": "x"}, "1.doc", "1.doc: expected a .txt file or a folder of them, found '.doc'."),
    ("NUL in the name", {"1.txt": "x"}, "a\0.txt", "not the name of a file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "path", "words"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED]
)
def test_malformed_texts_are_refused_in_one_line(tmp_path, files, path, words):
    write(tmp_path / "data", files)
    refused(words, read_text_table, tmp_path / "data" / path)


def test_what_is_no_text_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    refused("pipe.txt: expected a regular file, found a pipe or a device", read_text_table, tmp_path / "pipe.txt")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    refused("loop.txt: the file can't be read", read_text_table, tmp_path / "loop.txt")
    name = os.fsdecode(b"\xff.txt")
    try:
        (tmp_path / "names").mkdir()
        (tmp_path / "names" / name).write_text("x")
    except OSError:  # some file systems have no such names
        return
    refused("expected names of files in UTF-8, found '\\udcff.txt'", read_text_table, tmp_path / "names")


RAW = [
    ([], "texts: expected at least one, found an empty list."),
    (["a", 3], "texts, row 1: expected a text, found int."),
    (["a", None], "texts, row 1: expected a text, found NoneType."),
    (["a", "\ud800"], "texts, row 1: expected text, found half of a surrogate pair."),
    (pl.DataFrame({"reviw": ["x"]}), "table: expected a column 'review', found reviw. Did you mean 'reviw'?"),
    ("none.txt", "none.txt: the file can't be read (No such file or directory)."),
    ("none.csv", "none.csv: expected a file, found none"),
    ("a\0b", "not the name of a file"),
    (7, "data: expected the name of a data set, a file"),
]


@pytest.mark.parametrize(("source", "words"), RAW)
def test_raw_texts_that_are_none_are_refused_in_one_line(source, words):
    refused(words, lambda raw: read_texts(raw, "review"), source)


def test_raw_texts_come_from_anything_under_the_name_of_training(tmp_path):
    write(tmp_path, {"neg/1.txt": "bad", "pos/1.txt": "good"})
    pl.DataFrame({"review": ["x", "y"], "id": [1, 2]}).write_csv(tmp_path / "new.csv")
    for source, texts in (
        (tmp_path, ["bad", "good"]),
        (str(tmp_path / "pos"), ["good"]),
        (tmp_path / "pos" / "1.txt", ["good"]),
        (tmp_path / "new.csv", ["x", "y"]),
        (["b", "a"], ["b", "a"]),
        (pl.DataFrame({"review": ["z"]}), ["z"]),
    ):
        assert read_texts(source, "review").frame["review"].to_list() == texts
    assert read_texts(tmp_path, "label").frame["label"].to_list() == ["bad", "good"]


def test_one_text_is_known_by_its_file_as_many_are(tmp_path):
    write(tmp_path, {"letters/1.txt": "good", "letters/2.txt": "bad"})
    folder, file = read_texts(tmp_path / "letters", "review"), read_texts(tmp_path / "letters" / "2.txt", "review")
    assert folder.columns == file.columns == ["file", "review"]
    assert file.frame["file"].to_list() == ["2.txt"] == folder.frame["file"].to_list()[1:]


def test_a_column_that_holds_no_texts_is_refused():
    refused(
        "column 'x': expected texts, found List(Int64)",
        lambda t: texts_of(t, "x"),
        Table(pl.DataFrame({"x": [[1]]}), "t"),
    )
    assert texts_of(Table(pl.DataFrame({"x": [1.5, None]}), "t"), "x") == ["1.5", ""]


LINES = st.lists(st.text(st.sampled_from("ab \u00e9"), max_size=40), min_size=40, max_size=80).map("\n".join)
SHARES = st.sampled_from([0.0, 0.1, 0.15, 0.3])


@given(text=LINES.map(lambda text: text + "x" * 1200), valid=SHARES, test=SHARES)
def test_the_pieces_of_a_document_are_the_document_in_about_its_shares(text, valid, test):
    table = cut_document(text, valid, test)
    pieces = table.frame["text"].to_list()
    assert "".join(pieces) == text
    shares = {0: 1 - valid - test, 1: valid, 2: test}
    assert table.belongs == [split for split, share in shares.items() if share]
    smallest = min(share for share in shares.values() if share)
    for split, piece in zip(table.belongs, pieces, strict=True):
        assert abs(len(piece) / len(text) - shares[split]) <= 0.2 * smallest + 2 / len(text)


def test_a_document_is_cut_at_the_nearest_line_break():
    text = "".join(f"line {number:03d}\n" for number in range(500))
    train, valid, test = cut_document(text, 0.2, 0.1).frame["text"]
    assert (train[:8], valid[:8], test[:8]) == ("line 000", "line 350", "line 450")
    uneven = "".join("\n" if place in (694, 702, 896, 907) else "x" for place in range(1000))
    assert [len(piece) for piece in cut_document(uneven, 0.2, 0.1).frame["text"]] == [703, 194, 103]
    one_line = "x" * 1000
    assert [len(piece) for piece in cut_document(one_line, 0.2, 0.1).frame["text"]] == [700, 200, 100]
    assert cut_document(one_line, 0, 0).belongs == [0]


def test_a_document_too_short_to_be_cut_is_refused():
    words = "a.txt: expected at least 667 characters to be cut into train and valid and test, found 666."
    refused(words, lambda text: cut_document(text, 0.15, 0.15, name="a.txt"), "x" * 666)
    assert len(cut_document("x" * 667, 0.15, 0.15).frame) == 3
    refused("at least 100 characters", lambda text: cut_document(text, 0, 0), "x" * (SHORTEST_PIECE - 1))


def test_keys_are_those_of_the_texts_and_of_nothing_else():
    texts = ["a", "ä\r\nb", "a", None, "", "ä\nb"]
    keys = text_keys(Table(pl.DataFrame({"t": texts}), "t"), "t")
    assert keys.dtype == np.uint64
    assert keys[0] == int.from_bytes(hashlib.blake2b(b"a").digest()[:8], "little")
    assert [keys[0] == keys[2], keys[1] == keys[5], keys[3] == keys[4], len(set(keys.tolist()))] == [
        True,
        True,
        True,
        3,
    ]


def refused(words, function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    message = str(error.value)
    assert words in message
    assert len(message.splitlines()) == 1
