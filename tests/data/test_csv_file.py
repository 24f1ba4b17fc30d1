from __future__ import annotations

import csv
import gzip
import io
import random

import pytest

from truestep.data import csv_file
from truestep.data.csv_file import MISSING, read_csv
from truestep.errors import InputError


def read(tmp_path, content, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_csv(path)
    return found.frame.to_dict(as_series=False), list(found.lines), found.notes


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(tmp_path, separator):
    content = '"a,;|b",c\n1,2\n'.replace(",c", f"{separator}c").replace("1,2", f"1{separator}2")
    assert read(tmp_path, content)[0] == {"a,;|b": ["1"], "c": ["2"]}


def test_a_tsv_is_separated_by_tabs_whatever_its_header_holds(tmp_path):
    assert read(tmp_path, "a,b,c\td\n1\t2\n", "x.tsv")[0] == {"a,b,c": ["1"], "d": ["2"]}


def test_cells_stay_text_and_lose_only_outer_spaces(tmp_path):
    assert read(tmp_path, "zip,n\n00123, 1.50 \n")[0] == {"zip": ["00123"], "n": ["1.50"]}


def test_missing_values_have_many_spellings_and_each_word_is_told(tmp_path):
    frame, _, notes = read(tmp_path, "a,b\n,1\nNA,2\nN/A,3\nNaN,4\nnull,5\nNone,6\n?,7\n-,8\nna,9\nx,\n")
    assert frame["a"] == [None] * 9 + ["x"]
    assert frame["b"][-1] is None
    assert notes == [  # one line a column; the empty cells need no word
        "column 'a': 8 cells read as missing: 1 '-', 1 '?', 1 'N/A', 1 'NA', 1 'NaN', 1 'None', 1 'na', 1 'null'."
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_ends_are_read_and_blank_lines_passed_over(tmp_path, end):
    frame, lines, _ = read(tmp_path, end.join(["a,b", "1,2", "", "3,4"]))
    assert frame == {"a": ["1", "3"], "b": ["2", "4"]}
    assert lines == [2, 4]


def test_a_row_of_several_lines_is_known_by_its_first(tmp_path):
    frame, lines, _ = read(tmp_path, 'a,b\n"one\ntwo",1\nthree,2\n')
    assert frame["a"] == ["one\ntwo", "three"]
    assert lines == [2, 4]


def test_in_a_file_of_one_column_a_blank_line_is_a_missing_value(tmp_path):
    assert read(tmp_path, "a\n1\n\n2\n")[0] == {"a": ["1", None, "2"]}


def test_a_byte_order_mark_and_compression_are_taken_off(tmp_path):
    content = gzip.compress(b"\xef\xbb\xbfa,b\n1,2\n")
    assert read(tmp_path, content, "x.csv.gz")[0] == {"a": ["1"], "b": ["2"]}


def test_a_column_without_a_name_gets_its_number(tmp_path):
    assert read(tmp_path, ",b\n1,2\n")[0] == {"column_1": ["1"], "b": ["2"]}


def test_many_rows_keep_their_order_and_lines(tmp_path):
    content = "a,b\n" + "".join(f"{row},x\n" for row in range(120_000))
    frame, lines, _ = read(tmp_path, content)
    assert frame["a"] == [str(row) for row in range(120_000)]
    assert lines == list(range(2, 120_002))


PARTS = [
    "a",
    "1.5",
    "",
    " ",
    "é",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "x y",
    '"q"',
    '"a,b"',
    '"a\nb"',
    '"a""b"',
    '""""',
    "\n\n",
]


def by_the_standard_reader(content):
    """Rows and their first lines, or None where the format is broken or a row has not two cells."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    rows, lines, line = [], [], 0
    try:
        for cells in reader:
            if cells:
                rows.append([None if cell.strip().lower() in MISSING else cell.strip() for cell in cells])
                lines.append(line + 1)
            line = reader.line_num
    except csv.Error:
        return None
    return (rows[1:], lines[1:]) if len(rows) > 1 and all(len(row) == 2 for row in rows) else None


@pytest.mark.parametrize("block", [8, 37, 1 << 20])
def test_whatever_is_in_a_file_it_is_read_as_by_the_standard_reader(tmp_path, monkeypatch, block):
    monkeypatch.setattr(csv_file, "BLOCK", block)
    monkeypatch.setattr(csv_file, "IN_MEMORY", 400)
    draw = random.Random(block)
    read_well = 0
    for _ in range(300):
        if draw.random() < 0.5:  # well formed, most often
            cells = [
                ["".join(draw.choices(PARTS, k=draw.randrange(4))) for _ in range(2)]
                for _ in range(draw.randrange(1, 30))
            ]
            out = io.StringIO(newline="")
            csv.writer(out, lineterminator=draw.choice(["\n", "\r\n"])).writerows(cells)
            content = "c,d\n" + out.getvalue()
        else:
            content = "c,d\n" + "".join(draw.choices(PARTS, k=draw.randrange(12))) + draw.choice(["", "\n"])
        expected = by_the_standard_reader(content)
        if expected is None:
            with pytest.raises(InputError):
                read(tmp_path, content)
            continue
        found, lines, _ = read(tmp_path, content)
        assert [list(row) for row in zip(*found.values(), strict=True)] == expected[0], repr(content)
        assert lines == expected[1], repr(content)
        read_well += 1
    assert read_well > 100


def test_a_large_file_is_kept_on_the_disk_while_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "BLOCK", 1000)
    monkeypatch.setattr(csv_file, "IN_MEMORY", 5000)
    monkeypatch.setattr(csv_file.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "x.csv").write_text(
        "a,b\n" + "".join(f"{row},{'NA' if row == 7 else row % 3}\n" for row in range(3000))
    )
    found = read_csv(tmp_path / "x.csv")
    (folder,) = tmp_path.glob("truestep-*")
    assert found.frame["a"].to_list() == [str(row) for row in range(3000)]
    assert found.frame["b"].to_list()[6:9] == ["0", None, "2"]
    assert found.lines == range(2, 3002)
    assert found.notes == ["column 'b': 1 cell 'NA' read as missing."]
    del found
    assert not folder.exists()


def test_comments_above_the_header_are_left_out_and_told(tmp_path):
    frame, lines, notes = read(tmp_path, "# made by a program, on a day, somewhere\n#\na,b\n1,2\n")
    assert (frame, lines) == ({"a": ["1"], "b": ["2"]}, [4])
    assert notes == ["x.csv, lines 1, 2: a comment, left out."]
    assert read(tmp_path, "#a,b\n1,2\n")[0] == {"#a": ["1"], "b": ["2"]}
    assert read(tmp_path, "sep=|\na,b|c\n1|2\n")[0] == {"a,b": ["1"], "c": ["2"]}


def test_the_line_of_a_mistake_is_exact_behind_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "BLOCK", 64)
    rows = [f'"r{row}\n",{row}' if row % 5 == 0 else f"r{row},{row}" for row in range(300)]
    rows[200] = "r200"
    line = 2 + 200 + 40  # the header, the rows before, and the line breaks in forty of them
    for end in ("\n", "\r\n"):
        with pytest.raises(InputError, match=rf"x\.csv, line {line}: expected 2 cells as in the header, found 1"):
            read(tmp_path, "a,b\n" + end.join(rows) + end)
        with pytest.raises(InputError, match=rf"line {line}: expected UTF-8 text, found the byte 0xe4"):
            read(tmp_path, ("a,b\n" + end.join(rows) + end).replace("r200", "\xe4,1").encode("latin-1"))


def test_a_cell_may_be_huge(tmp_path):
    frame, lines, _ = read(tmp_path, f'a,b\n"{"x" * 3_000_000}\n ""y",1\n' + f"{'z' * 3_000_000},2\n")
    assert [len(cell) for cell in frame["a"]] == [3_000_004, 3_000_000]
    assert lines == [2, 4]
