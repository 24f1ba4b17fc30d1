from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from truestep.data import Table, columns
from truestep.data.columns import describe, form_of, numbers_of, parse_numbers
from truestep.errors import InputError


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
        ([f"{row} bottles of beer" for row in range(30)], "ignored"),
        ([f"{row} bottles of beer on the wall" for row in range(30)], "text"),
        (["beer on the wall, take one down"] * 20 + ["and pass it all around"] * 20, "categorical"),
        ([f"{row // 2} bottles of beer on the wall, take one down and pass it around" for row in range(60)], "text"),
        ([f"w{row}" for row in range(29)] + ["w0"], "ignored"),
        ([[1, 2]] * 30, "ignored"),
        ([f"photos/{row}.JPG" for row in range(29)] + [None], "image"),
        (["a.png", "b.tiff", "a.webp"] * 10, "image"),
        (["a.png", "b.txt"] * 10, "categorical"),
        (["yes", "No", None] * 10, "boolean"),
        (["on", "off"] * 10, "boolean"),
        (["T", "F"] * 10, "boolean"),
        (["yes", "f"] * 10, "categorical"),
        (["y", None] * 10, "categorical"),
        (["1,234", "950", "12,345.5"] * 10, "numeric"),
        (["3,5", "-0,25", "7"] * 10, "numeric"),
        (["1.234,5", "3,5", "950"] * 10, "numeric"),
        (["12,345,678", "1,000"] * 10, "numeric"),
        (["1 234", "12 345,5", "7"] * 10, "numeric"),
        (["1'234.5", "7"] * 10, "numeric"),
        (["$1,200", "-$5.50", "$0"] * 10, "numeric"),
        (["\u20ac 5", "\u20ac 5,5"] * 10, "numeric"),
        (["5 USD", "7.5 USD"] * 10, "numeric"),
        (["USD 5", "USD 1e3"] * 10, "numeric"),
        (["45%", "7.5 %"] * 10, "numeric"),
        (["12 kg", "7.5kg"] * 10, "numeric"),
        (["20 \u00b0C", "\u22125 \u00b0C"] * 10, "numeric"),
        (["(3.2)", "4"] * 10, "numeric"),
        (["($1,200)", "$4"] * 10, "numeric"),
        (["12 kg", "7 lb"] * 10, "categorical"),
        (["12 kg", "7"] * 10, "categorical"),
        (["555 123 456", "555 987 654"] * 10, "categorical"),  # phone numbers are groups, too
        (["007 kg", "12 kg"] * 10, "categorical"),
        (["1,23,4", "5,6"] * 10, "categorical"),
        (["user1", "user2"] * 10, "categorical"),
        (["13/02/2021", "01/02/2021"] * 10, "date"),
        (["02/13/2021", "01/02/2021 10:30 PM"] * 10, "date"),
        (["2021/08/10", "2021/8/9"] * 10, "date"),
        (["1.2.2021", "02.01.2021 10:30"] * 10, "date"),
        (["10 Aug 2021", "1 september 2021", "3-May-2021", "March 3, 2021"] * 10, "date"),
        (["2021-08-10T10:00:00+02:00", "2021-08-10T10:00:00.25Z"] * 10, "date"),
        (["13/02/2021", "02/13/2021"] * 10, "categorical"),
        (["31/02/2021", "01/13/2021"] * 10, "categorical"),
        (["2021-08-10 25:00", "2021-08-10 10:00"] * 10, "categorical"),
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
        ([str(row / 2) for row in range(40)] + ["abc"], "column 'c' taken for words: 'abc' (x.csv, line 42) is no number; if it stands for no value: --data.missing abc. column 'c' ignored: 41 different texts in 41 rows; --data.kinds.c categorical would keep it."),
        (["1", "2"] * 60 + ["tbd", "open", "Tbd"], "column 'c' taken for words: 'tbd' (x.csv, line 122) is no number, nor are 'open', 'Tbd'; if they stand for no value: --data.missing tbd,open."),
        (["1", "2"] * 90 + list("abcdef"), "column 'c' taken for words: 'a' (x.csv, line 182) is no number."),
        (["01", "02"] * 10, "column 'c' taken for words: some of its numbers begin with 0."),
        (["same"] * 30, "column 'c' ignored: it is 'same' in every row."),
        ([None] * 30, "column 'c' ignored: it is empty."),
        (list(range(30)), "column 'c' ignored: it numbers the rows; --data.kinds.c numeric would keep it."),
        (["10/8/2021", "11/8/2021"] * 10, "column 'c' taken for words: '10/8/2021' looks like a date, but day and month may be either way round; ISO dates, such as 2021-08-10, would be read as such."),
        ([f"${row},000" for row in range(1, 41)], "column 'c': read as numbers without '$' and thousands commas."),
        (["1,000.50", "2,000.50"] * 10, "column 'c': read as numbers without thousands commas."),
        (["5 %", "7.5 %"] * 10, "column 'c': read as numbers without '%'."),
        (["1.234,5 kg", "(3,5 kg)"] * 10, "column 'c': read as numbers without 'kg' and thousands points, with decimal commas and negative ones in brackets."),
        (["13/02/2021"] * 20 + ["01/02/2021"], "column 'c': read as dates like '31/01/2026'."),
        ([f"${row % 7},000" for row in range(40)] + ["free"], "column 'c' taken for words: 'free' (x.csv, line 42) is no number like '$0,000'; if it stands for no value: --data.missing free."),
        ([f"{row % 7} kg" for row in range(40)] + ["free"], "column 'c' taken for words: 'free' (x.csv, line 42) is no number like '0 kg'; if it stands for no value: --data.missing free."),
        ([f"{row % 7 + 13}/12/2021" for row in range(40)] + ["never"], "column 'c' taken for words: 'never' (x.csv, line 42) is no date like '13/12/2021'; if it stands for no value: --data.missing never."),
        ([f"{row} bottles of beer on the wall" for row in range(30)], None),
        (["a.png", "b.png"] * 10, None),
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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,234.5", "-1,000", "+7", "1e3"], [1234.5, -1000, 7, 1000]),
        (["1.234.567,5", "3,5", "-,5"], [1234567.5, 3.5, -0.5]),
        (["$1,200", "-$5.50", "$-3", "$ 4"], [1200, -5.5, -3, 4]),
        (["(3.2)", "4", "( 1,000 )"], [-3.2, 4, -1000]),
        (["45%", "7.5 %", "\u22123%"], [45, 7.5, -3]),
        (["12 kg", "7.5kg", "1e2 kg"], [12, 7.5, 100]),
        (["12 m2", "7.5 m2"], [12, 7.5]),
        (["1 234", "12\u00a0345", "7"], [1234, 12345, 7]),
    ],
)
def test_numbers_in_every_form_are_what_they_mean(values, expected):
    table = Table(pl.DataFrame({"c": [*values, None]}), "x.csv")
    assert describe(table, "c").kind == "numeric"
    assert np.array_equal(numbers_of(table, "c", "numeric", form_of(table, "c")), [*expected, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    "values",
    [
        ["10 Aug 2021", "1 February 2021 13:30", "Feb 3, 2021 1:05 pm"],
        ["10/08/2021", "1/2/2021 13:30", "31/12/2021 00:00:59"],
        ["08/10/2021", "2/1/2021 13:30", "12/31/2021 12:30 am"],
        ["2021/08/10", "2021/2/1 13:30", "2021/12/31 12:30:01.5"],
        ["2021-08-10", "2021-02-01T13:30", "2021-12-31 12:30:01.250+02:00"],
        ["10.8.2021", "01.02.2021 13:30", "31.12.2021"],
    ],
)
def test_dates_in_every_form_are_what_they_mean(values):
    table = Table(pl.DataFrame({"c": values}), "x.csv")
    found = numbers_of(table, "c", "date", form_of(table, "c", "date"))
    third = {"Feb": (2, 3, 13, 5, 0), "31/": (12, 31, 0, 0, 59), "12/": (12, 31, 0, 30, 0), "2021/": (12, 31, 12, 30, 1.5),
             "2021-": (12, 31, 10, 30, 1.25), "31.": (12, 31, 0, 0, 0)}  # fmt: skip
    month, day, hour, minute, second = next(time for start, time in third.items() if values[2].startswith(start))
    times = [dt.datetime(2021, 8, 10, tzinfo=dt.UTC), dt.datetime(2021, 2, 1, 13, 30, tzinfo=dt.UTC)]
    times.append(dt.datetime(2021, month, day, hour, minute, tzinfo=dt.UTC) + dt.timedelta(seconds=second))
    days = [(time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(days=1) for time in times]
    assert np.allclose(found, days, rtol=0, atol=1e-11)  # less than a microsecond


def test_a_comma_before_three_digits_is_undecided_only_in_a_file_of_semicolons():
    frame = pl.DataFrame({"c": ["1,234", "5,678", "9"] * 10})
    assert describe(Table(frame, "x.csv", separator=","), "c").kind == "numeric"
    found = describe(Table(frame, "x.csv", separator=";"), "c")
    assert found.kind == "categorical"
    assert found.note == (
        "column 'c' taken for words: '1,234' looks like a number, but its comma may be a decimal one or not; "
        "write 1234 or 1.234."
    )
    with pytest.raises(InputError, match=r"x\.csv, column 'c': '1,234' looks like a number, but its comma may be"):
        form_of(Table(frame, "x.csv", separator=";"), "c")


def test_large_columns_are_described_as_small_ones(monkeypatch):
    values = {
        "i": [row % 97 for row in range(5000)],
        "f": [row / 7 for row in range(5000)],
        "w": [f"w{row % 30}" for row in range(5000)],
        "u": [f"u{row}" for row in range(5000)],
        "d": [f"{row % 28 + 1}/02/2021" for row in range(5000)],
        "late": ["5 %"] * 4999 + ["five"],
    }
    table = Table(pl.DataFrame(values), "x.csv", range(2, 5002))
    whole = [describe(table, name) for name in values]
    monkeypatch.setattr(columns, "PIECE", 64)
    monkeypatch.setattr(columns, "SAMPLE", 50)
    assert [describe(table, name) for name in values] == whole
    assert [found.distinct for found in whole] == [97, 5000, 30, 5000, 28, 2]
    assert "'five' (x.csv, line 5001) is no number like '5 %'" in whole[-1].note


def test_only_numbers_are_numbers():
    words = ["0x10", "1_000", "1,5", "1e", "e5", "--1", "1 2", "one", "\u0661"]
    assert parse_numbers(pl.Series([*words, "INF", "-Infinity", "nan"])).to_list() == [None] * 9 + [
        np.inf,
        -np.inf,
        None,
    ]
