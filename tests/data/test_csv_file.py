from __future__ import annotations

import gzip

import pytest

from truestep.data.csv_file import read_csv


def read(tmp_path, content, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    frame, lines, notes = read_csv(path)
    return frame.to_dict(as_series=False), lines, notes


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
    assert "column 'a': 1 cell 'NA' read as missing." in notes
    assert len(notes) == 8  # the empty cells need no word


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
