"""Keys: a number for each row that depends on what is in the row, and on nothing else.

Equal rows have equal keys, on every machine and with every version of Python, NumPy and polars; so a split made from
keys stays the same when rows are added, removed or put in another order, and duplicates are found by their keys.
64 bits: among 5 million different rows, two have the same key with a chance of one in a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

import numpy as np
import polars as pl

from truestep.data.columns import NUMERIC_KINDS, as_text, form_of, numbers_of
from truestep.data.table import Table
from truestep.errors import InputError
from truestep.keyed import mixed

FEW_DISTINCT = 0.2  # share of the rows, below which repeated rows are no copies of each other but few possible inputs
CHUNK = 1 << 16  # rows mixed at a time, so that temporaries stay in the processor's cache
EXACT = 1 << 53  # whole numbers up to this are float64 numbers
MISSING = np.uint64(0x7FF8000000000000)  # bits of the usual NaN; stands for every NaN and for null in any column


def values_of(table: Table, used: Mapping[str, str]) -> Iterator[pl.Series]:
    """Yield the columns of a table as a model sees them, one at a time: float64 numbers, or words.

    Args:
        table: all its rows.
        used: the kind of each column by its name; see `columns.KINDS`.
    """
    for name, kind in used.items():
        if kind in NUMERIC_KINDS:
            yield pl.Series(name, numbers_of(table, name, kind, form_of(table, name, kind)))
        else:
            yield as_text(table.column(name))


def row_keys(columns: Iterable[pl.Series]) -> np.ndarray:
    """Return a key for each row, equal for rows that are equal in these columns: (N,) uint64.

    A column counts by its name and its values: their order doesn't matter. Numbers count by their value: 3 and 3.0 are
    equal (whole numbers beyond 2**53 count exactly, and differ from rounded ones), so are 0.0 and -0.0, false and 0. Dates and times count
    to the microsecond, a date as its midnight. All that is missing is equal, NaN as well as null; an empty text is not missing.
    A number and its digits as text are different.

    Args:
        columns: one or more, of N rows each; taken one at a time, so a generator keeps only one of them in memory.

    Raises:
        InputError: a column holds Python objects, which have no contents to go by.
    """
    keys: np.ndarray | None = None
    for column in columns:
        bits, name = _bits(column), _digests([column.name.encode()])[0]
        keys = np.zeros(len(bits), np.uint64) if keys is None else keys
        for start in range(0, len(bits), CHUNK):
            part = slice(start, start + CHUNK)
            keys[part] += mixed(mixed(bits[part]) ^ name)  # a sum is the same in any order
    if keys is None:
        raise ValueError("expected at least one column")
    return keys


def array_keys(values: np.ndarray) -> np.ndarray:
    """Return a key for each example of an array of numbers, equal for equal ones: (N, ...) to (N,) uint64.

    Numbers count by their value, as in `row_keys`: an array keeps its keys if it is stored in a wider type.
    """
    size = max(1, values[:1].size)  # of one example
    step = max(1, CHUNK // size)
    found = [_array_keys(values[start : start + step]) for start in range(0, len(values), step)]
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def _array_keys(values: np.ndarray) -> np.ndarray:
    rows = values.reshape(len(values), -1)
    bits = _integer_bits(rows) if rows.dtype.kind in "iu" else _float_bits(rows.astype(np.float64))
    return _digests(row.tobytes() for row in np.ascontiguousarray(bits, dtype="<u8"))


def split_keys(keys: np.ndarray) -> np.ndarray:
    """Return the keys to split rows by: (N,) uint64, as given unless there are few different ones.

    Equal rows belong in one split, or testing would ask for what training has seen. But where a few columns of few
    values repeat by nature (sex and class of 2,000 passengers), a model must have seen every combination, and so few
    could not be split in shares: then the first, second, ... row of each key are told apart, in the order of the rows,
    and rows that are appended still move no other.
    """
    if count_distinct(keys) >= FEW_DISTINCT * len(keys):
        return keys
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, stable=True)
    number = np.empty(len(keys), np.uint64)  # of each row among its equals, from 0
    number[order] = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.where(number > 0, mixed(keys ^ mixed(number)), keys)


def count_distinct(keys: np.ndarray) -> int:
    """Return how many different keys there are, with no more memory than a copy of them."""
    ordered = np.sort(keys)
    changes = sum(
        int(
            np.count_nonzero(
                ordered[start + 1 : start + CHUNK + 1] != ordered[start : start + CHUNK][: len(ordered) - start - 1]
            )
        )
        for start in range(0, len(ordered), CHUNK)
    )
    return changes + bool(len(ordered))


def bytes_keys(contents: Iterable[bytes]) -> np.ndarray:
    """Return a key for each of these contents, such as those of files, taken one at a time: (N,) uint64."""
    return mixed(_digests(contents))


def _digests(contents: Iterable[bytes]) -> np.ndarray:
    """Return 64 bits of BLAKE2b (RFC 7693) for each: (n,) uint64."""
    joined = b"".join([blake2b(content, digest_size=8).digest() for content in contents])
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def _bits(column: pl.Series) -> np.ndarray:
    """Return 64 bits for each value: (N,) uint64, equal for equal values."""
    dtype = column.dtype
    if isinstance(dtype, pl.Object):
        raise InputError(f"column '{column.name}': expected numbers, words or dates, found Python objects; convert it.")
    if isinstance(dtype, pl.Struct):
        return row_keys(column.struct.unnest().get_columns())
    if dtype.is_nested():
        return _text_bits(
            pl.Series([None if value is None else str(value) for value in column.to_list()], dtype=pl.String)
        )
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Int128 | pl.UInt128):
        return _text_bits(column.cast(pl.String))
    if isinstance(dtype, pl.Binary):
        return _filled(_digests(value or b"" for value in column), column)
    if isinstance(dtype, pl.Date | pl.Datetime):
        column = column.cast(pl.Datetime("us")).cast(pl.Int64)
    elif isinstance(dtype, pl.Duration):
        column = column.cast(pl.Duration("us")).cast(pl.Int64)
    elif isinstance(dtype, pl.Time):
        column = column.cast(pl.Int64)
    if column.dtype.is_integer():
        return _filled(_integer_bits(column.fill_null(0).to_numpy()), column)
    return _float_bits(column.cast(pl.Float64).to_numpy())


def _float_bits(values: np.ndarray) -> np.ndarray:
    bits = (values + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
    bits[np.isnan(values)] = MISSING
    return bits


def _integer_bits(values: np.ndarray) -> np.ndarray:
    bits = _float_bits(values.astype(np.float64))
    if values.dtype.itemsize == 8:
        large = (values > EXACT) | (values < -EXACT) if values.dtype.kind == "i" else values > EXACT
        if large.any():
            bits[large] = mixed(values[large].astype(np.uint64))
    return bits


def _text_bits(words: pl.Series) -> np.ndarray:
    """Hash each distinct word once, and each word where most are distinct."""
    distinct = words.unique()
    if len(distinct) > len(words) / 2:
        parts = [words.slice(start, CHUNK) for start in range(0, len(words), CHUNK)]
        found = [_digests((word or "").encode() for word in part.to_list()) for part in parts]
        return _filled(np.concatenate(found) if found else np.zeros(0, np.uint64), words)
    distinct = distinct.drop_nulls()
    digests = pl.Series(_digests(word.encode() for word in distinct.to_list()), dtype=pl.UInt64)
    return _filled(
        words.replace_strict(distinct, digests, default=0, return_dtype=pl.UInt64).to_numpy(writable=True), words
    )


def _filled(bits: np.ndarray, column: pl.Series) -> np.ndarray:
    if column.null_count():
        bits[column.is_null().to_numpy()] = MISSING
    return bits
