# ruff: noqa: DTZ001 - times without a zone are what files hold
from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truestep.data import keys as keys_module
from truestep.data.csv_file import read_csv
from truestep.data.keys import array_keys, bytes_keys, row_keys, split_keys, values_of
from truestep.data.table import Table
from truestep.errors import InputError

FRAME = pl.DataFrame(
    {
        "number": [0.5, -1.0, None, 1e300],
        "whole": pl.Series([3, -7, 2**53 + 1, None], dtype=pl.Int64),
        "true": [True, False, None, True],
        "day": [dt.date(1970, 1, 2), dt.date(2026, 11, 21), None, dt.date(1, 1, 1)],
        "time": [dt.datetime(2026, 11, 21, 10, 30), None, dt.datetime(1969, 7, 20), dt.datetime(2000, 1, 1)],
        "word": ["", "Wörter", None, "a"],
    }
)
# Computed once. A change here would move rows between the splits of every recipe there is.
KEYS = ["1b6c2e5aa207c3c5", "4f34ade509786657", "d017718a3cae4ea6", "569e5b528172f348"]
ARRAY_KEYS = ["df2a5cac23c55532", "51542dae65fb1fc0"]
BYTES_KEYS = ["49df6bf9d4874f40", "8ef7046ebd489d4e"]
WORDS = 0xFFFFFFFFFFFFFFFF


def splitmix(value: int) -> int:
    """SplitMix64 in whole numbers of Python."""
    value = (value + 0x9E3779B97F4A7C15) & WORDS
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORDS
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORDS
    return value ^ (value >> 31)


def digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def reference(row: dict) -> int:
    """The key of a row, written down again without NumPy and polars."""
    total = 0
    for name, value in row.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            bits = 0x7FF8000000000000
        elif isinstance(value, str):
            bits = digest(value.encode())
        elif isinstance(value, int) and abs(value) > 2**53:
            bits = splitmix(value & WORDS)
        else:
            if isinstance(value, dt.date):
                midnight = dt.datetime.combine(value, dt.time()) if not isinstance(value, dt.datetime) else value
                value = (midnight - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
                if abs(value) > 2**53:
                    total += splitmix(splitmix(splitmix(value & WORDS)) ^ digest(name.encode()))
                    continue
            bits = int.from_bytes(np.float64(value + 0.0).astype("<f8").tobytes(), "little")
        total += splitmix(splitmix(bits) ^ digest(name.encode()))
    return total & WORDS


def test_keys_are_what_was_written_down():
    assert row_keys(FRAME).tolist() == [reference(row) for row in FRAME.iter_rows(named=True)]


def test_keys_never_change():
    assert [f"{key:016x}" for key in row_keys(FRAME).tolist()] == KEYS
    assert [f"{key:016x}" for key in array_keys(np.array([[0, 1], [2, 3]])).tolist()] == ARRAY_KEYS
    assert [f"{key:016x}" for key in bytes_keys([b"", b"truestep"]).tolist()] == BYTES_KEYS


def test_another_process_with_another_hash_seed_gives_the_same_keys():
    make = "row_keys(pl.DataFrame({'a': ['x', 'y', 'x'], 'b': [1, 2, 1]})).tolist()"
    code = f"import polars as pl; from truestep.data.keys import row_keys; print({make})"
    where = {"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, check=True, text=True).stdout
    here = row_keys(pl.DataFrame({"a": ["x", "y", "x"], "b": [1, 2, 1]})).tolist()
    assert shown.strip() == str(here)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.5, None, math.nan]), st.sampled_from(["", "a", "b", None])),
        min_size=1,
        max_size=30,
    )
)
def test_keys_are_equal_exactly_for_equal_rows(rows):
    frame = pl.DataFrame(rows, schema={"x": pl.Float64, "w": pl.String}, orient="row")
    same = [tuple(None if isinstance(v, float) and math.isnan(v) else v for v in row) for row in rows]
    keys = row_keys(frame).tolist()
    for i, key in enumerate(keys):
        for j, other in enumerate(keys):
            assert (key == other) == (same[i] == same[j])


def test_the_order_of_columns_and_of_rows_does_not_matter_but_names_do():
    keys = row_keys(FRAME)
    assert np.array_equal(row_keys(FRAME[:, ::-1]), keys)
    assert np.array_equal(row_keys(FRAME[::-1]), keys[::-1])
    assert np.array_equal(row_keys(pl.concat([FRAME, FRAME]))[4:], keys)
    pair = pl.DataFrame({"a": [1, 2], "b": [2, 1]})
    assert len(set(row_keys(pair).tolist())) == 2  # exchanged values are another row
    assert not (row_keys(pair.rename({"a": "c"})) == row_keys(pair)).any()


def test_values_count_however_they_are_stored():
    def key(values, dtype):
        values = [bool(value) if dtype == pl.Boolean and value is not None else value for value in values]
        return row_keys([pl.Series("x", values, dtype=dtype)]).tolist()

    for dtype in (pl.Int8, pl.UInt64, pl.Float32, pl.Boolean):
        assert key([0, 1, None], dtype) == key([0.0, 1.0, None], pl.Float64)
    assert key([-0.0, math.nan], pl.Float64) == key([0.0, None], pl.Float64)
    assert key(["a", "b", "a"], pl.Categorical) == key(["a", "b", "a"], pl.String)
    day = dt.date(2020, 2, 29)
    assert (
        key([day], pl.Date)
        == key([dt.datetime(2020, 2, 29)], pl.Datetime("ns"))
        == key([dt.datetime(2020, 2, 29)], pl.Datetime("ms"))
    )
    large = key([2**53 + 1, 2**53 + 2, 2**53, -(2**53) - 1, -(2**63), 2**63 - 1], pl.Int64)
    assert len(set(large)) == 6
    assert key([2**53 + 1, 2**64 - 1], pl.UInt64)[0] == large[0]
    assert key(["3"], pl.String) != key([3], pl.Int64)
    assert key([""], pl.String) != key([None], pl.String) == key([None], pl.Int64) == key([None], pl.Null)


@pytest.mark.parametrize(
    "values",
    [
        [b"a", None, b"a"],
        [[1, 2], None, [1, 2]],
        [{"a": 1}, None, {"a": 1}],
        [dt.time(1), None, dt.time(1)],
        [dt.timedelta(1), None, dt.timedelta(1)],
    ],
)
def test_rare_types_have_keys_too(values):
    first, missing, again = row_keys([pl.Series("x", values)]).tolist()
    assert first == again != missing


def test_objects_are_refused():
    with pytest.raises(InputError, match="column 'x': expected numbers, words or dates, found Python objects"):
        row_keys([pl.Series("x", [object()], dtype=pl.Object)])


def test_many_and_few_distinct_words_have_the_same_keys():
    few = pl.Series("w", ["a", "b", None, ""] * 10)
    assert row_keys([few])[:4].tolist() == row_keys([few[:4]]).tolist()


def test_rows_are_mixed_in_chunks_without_a_seam(monkeypatch):
    frame = pl.DataFrame({"x": np.arange(100) / 7, "w": [f"w{i}" for i in range(100)]})
    whole, arrays = row_keys(frame), array_keys(frame["x"].to_numpy().reshape(25, 2, 2))
    monkeypatch.setattr(keys_module, "CHUNK", 7)
    assert np.array_equal(row_keys(frame), whole)
    assert np.array_equal(array_keys(frame["x"].to_numpy().reshape(25, 2, 2)), arrays)


def test_arrays_keep_their_keys_in_a_wider_type():
    values = np.random.default_rng(0).integers(0, 256, (50, 3, 4))
    keys = array_keys(values.astype(np.uint8))
    assert len(np.unique(keys)) == 50
    for dtype in (np.int64, np.float32, np.float64):
        assert np.array_equal(array_keys(values.astype(dtype)), keys)
    assert array_keys(np.array([0.0, -0.0]))[0] == array_keys(np.array([0.0, -0.0]))[1]
    assert array_keys(np.zeros((0, 3))).shape == (0,)


def test_a_csv_file_and_a_frame_have_the_same_keys(tmp_path):
    frame = pl.DataFrame(
        {
            "x": [1.0, 2.5, None],
            "b": [True, False, True],
            "d": [dt.date(2020, 1, n) for n in (1, 2, 3)],
            "w": ["a", "b", "a"],
        }
    )
    frame.write_csv(tmp_path / "t.csv")
    cells, lines = read_csv(tmp_path / "t.csv")[:2]
    used = {"x": "numeric", "b": "boolean", "d": "date", "w": "categorical"}
    assert np.array_equal(
        row_keys(values_of(Table(cells, "t.csv", lines), used)), row_keys(values_of(Table(frame, "t"), used))
    )


def test_keys_are_spread_evenly():
    keys = row_keys([pl.Series("x", np.arange(100_000, dtype=np.float64))])
    assert len(np.unique(keys)) == 100_000
    for shift in (0, 20, 40, 60):
        counts = np.bincount(((keys >> np.uint64(shift)) & np.uint64(15)).astype(int), minlength=16)
        assert ((counts - 6250) ** 2 / 6250).sum() < 45  # chi-squared, 15 degrees: exceeded once in 10,000


def test_rows_of_few_possible_inputs_are_told_apart_and_copies_are_not():
    copied = row_keys([pl.Series("x", np.tile(np.arange(100.0), 3))])
    assert split_keys(copied) is copied
    few = row_keys([pl.Series("x", np.random.default_rng(0).integers(0, 4, 1000))])
    apart = split_keys(few)
    assert len(np.unique(apart)) == 1000
    first = np.unique(few, return_index=True)[1]
    assert np.array_equal(apart[first], few[first])
    assert np.array_equal(split_keys(few[:600]), apart[:600])  # more rows move no other
    order = np.random.default_rng(1).permutation(1000)
    shuffled = split_keys(few[order])
    assert sorted(shuffled) == sorted(apart)  # equal rows change places with each other only
    for key in np.unique(few):
        assert set(shuffled[few[order] == key]) == set(apart[few == key])
