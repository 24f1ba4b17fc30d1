from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from truestep.data import Table
from truestep.data.columns import describe, numbers_of, parse_numbers


def column(values, name="c", kind=None):
    return describe(
        Table(pl.DataFrame({name: values}, strict=False), "x.csv", list(range(2, 2 + len(values)))), name, kind
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5", "-3e4", ".5", "+7", None] * 5, "numeric"),
        (["0", "0.5", "-0.25"] * 10, "numeric"),
        ([5, 3, 9, 4] * 10, "numeric"),
        ([row * row for row in range(40)], "numeric"),  # different in every row, but a quantity
        (["True", "false", None] * 10, "boolean"),
        ([True, False] * 10, "boolean"),
        (["2026-01-31", "2025-12-01 10:30", "2025-12-01T10:30:01.5Z"] * 10, "date"),
        ([dt.date(2026, 1, 31), dt.date(2026, 2, 1)] * 10, "date"),
        (["2026-02-30", "2026-01-01"] * 10, "categorical"),  # no such day
        (["00123", "4711"] * 10, "categorical"),
        (["a", "b", None] * 10, "categorical"),
        (["only", None] * 10, "categorical"),  # there or not says something
        ([f"k{row % 20}" for row in range(30)], "categorical"),
        (["same"] * 30, "constant"),
        ([None] * 30, "constant"),
        ([f"u{row}" for row in range(30)], "id"),
        ([f"{row:05d}" for row in range(30)], "id"),
        (list(range(30)), "id"),
        ([str(row + 1) for row in range(30)], "id"),
        ([f"{row} bottles of beer" for row in range(30)], "text"),
        ([f"{row // 2} bottles of beer on the wall, take one down and pass it around" for row in range(60)], "text"),
        ([f"w{row}" for row in range(29)] + ["w0"], "text"),
        ([[1, 2]] * 30, "text"),
    ],
)
def test_the_kind_follows_from_the_values(values, kind):
    assert column(values).kind == kind


@pytest.mark.parametrize(
    ("name", "kind"), [("user_id", "id"), ("userId", "id"), ("ID", "id"), ("humid", "numeric"), ("price", "numeric")]
)
def test_different_whole_numbers_are_an_id_if_the_name_says_so(name, kind):
    assert column([row * 37 % 101 for row in range(50)], name).kind == kind


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["1"] * 20 + ["2"] * 20 + ["n.a."], "column 'c' taken for words: 'n.a.' (x.csv, line 42) is no number."),
        ([str(row / 2) for row in range(40)] + ["abc"], "column 'c' taken for words: 'abc' (x.csv, line 42) is no number. column 'c' ignored: 41 different texts in 41 rows; --data.kinds.c categorical would keep it."),
        (["01", "02"] * 10, "column 'c' taken for words: some of its numbers begin with 0."),
        (["same"] * 30, "column 'c' ignored: it is 'same' in every row."),
        ([None] * 30, "column 'c' ignored: it is empty."),
        (list(range(30)), "column 'c' ignored: it numbers the rows; --data.kinds.c numeric would keep it."),
        (["10/8/2021", "11/8/2021"] * 10, "column 'c' taken for words: '10/8/2021' looks like a date; ISO dates, such as 2021-08-10, would be read as such."),
        ([f"${row},000" for row in range(1, 41)], "column 'c' taken for words: '$1,000' looks like a number; plain numbers, such as 1000.5, would be read as such. column 'c' ignored: 40 different texts in 40 rows; --data.kinds.c categorical would keep it."),
        (["1,000.50", "2,000.50"] * 10, "column 'c' taken for words: '1,000.50' looks like a number; plain numbers, such as 1000.5, would be read as such."),
        (["5 %", "7.5 %"] * 10, "column 'c' taken for words: '5 %' looks like a number; plain numbers, such as 1000.5, would be read as such."),
        (["1.2.10", "10-12", "3/4", "12.5 kg"] * 10, None),
        (["a", "b"] * 10, None),
    ],
)  # fmt: skip
def test_what_is_surprising_is_noted(values, note):
    assert column(values).note == note


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("user id", "'--data.kinds.user id' numeric"),
        ("a.id", 'data.kinds."a.id" = "numeric"'),  # on the command line the dot would begin another name
    ],
)
def test_a_note_says_how_to_choose_a_kind_whatever_the_name(name, choice):
    assert column(list(range(30)), name).note.endswith(f"numbers the rows; {choice} would keep it.")


def test_a_given_kind_is_taken():
    assert column(list(range(30)), kind="numeric").kind == "numeric"
    assert column(["1", "2"] * 9, kind="categorical").kind == "categorical"


def test_a_column_is_described():
    found = column(["3", None, "1", "3"] * 5)
    assert (found.missing, found.distinct, found.examples, found.range) == (5, 2, ["3", "1"], (1.0, 3.0))


def test_values_become_numbers():
    frame = pl.DataFrame(
        {
            "d": ["1970-01-02", "1969-12-31", "1970-01-01 12:00", None],
            "b": ["TRUE", "false", "False", None],
            "n": ["1e3", ".5", "-2.", None],
            "t": [dt.datetime(1970, 1, 2, tzinfo=dt.UTC)] * 4,
        }
    )
    table = Table(frame, "x.csv")
    for name, kind, expected in (
        ("d", "date", [1, -1, 0.5, np.nan]),
        ("b", "boolean", [1, 0, 0, np.nan]),
        ("n", "numeric", [1000, 0.5, -2, np.nan]),
        ("t", "date", [1, 1, 1, 1]),
    ):
        assert np.array_equal(numbers_of(table, name, kind), expected, equal_nan=True)


def test_only_numbers_are_numbers():
    words = ["0x10", "1_000", "1,5", "1e", "e5", "--1", "1 2", "one", "\u0661"]
    assert parse_numbers(pl.Series([*words, "INF", "-Infinity", "nan"])).to_list() == [None] * 9 + [
        np.inf,
        -np.inf,
        None,
    ]
