"""What a column holds, and its values as numbers or words.

Kinds are decided from the whole file, as a reader of its header would; statistics never are (see the encoders).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from truestep.data.table import Table, listed, shown
from truestep.errors import InputError, did_you_mean

NUMERIC_KINDS = ("numeric", "boolean", "date")  # become numbers
KINDS = (*NUMERIC_KINDS, "categorical", "text", "id")  # what a user may call a column; the last two are left out

LEADING_ZERO = r"^[+-]?0\d"  # a code, such as a postal code: as a number it would lose its zeros
COMMA_NUMBER = r"^[+-]?\d{1,3}(\.?\d{3})*,\d+$|^[+-]?\d+,\d+$"
DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%.f")
DATE_LIKE = (  # a pattern, and what to tell the user of a column of such texts
    r"^\d{1,2}[/.-]\d{1,2}[/.-]\d{4}\b|^\d{1,2}/\d{1,2}/\d{2}\b|^\d{4}[/.]\d{1,2}[/.]\d{1,2}\b",
    "a date; ISO dates, such as 2021-08-10, would be read as such.",
)
NUMBER_LIKE = (
    rf"{COMMA_NUMBER}|^[+-]?\d{{1,3}}(,\d{{3}})+(\.\d+)?$|^[+-]?[$€£¥] ?\d[\d.,]*$|^[+-]?\d[\d.,]* ?[$€£¥%]$",
    "a number; plain numbers, such as 1000.5, would be read as such.",
)
ID_NAME = re.compile(r"(?i:id|index|idx)|.*[_ -](?i:id)|.*[a-z]I[dD]")

FEW_CATEGORIES = 20  # so many are categories in a table of any size
LONG_TEXT = 60  # characters on average, from which words are sentences


@dataclass(frozen=True)
class Column:
    """A column as it was understood."""

    name: str
    kind: str  # one of KINDS, "constant" or "target"
    missing: int
    distinct: int
    examples: list[str] = field(default_factory=list[str])
    range: tuple[float, float] | None = None  # of numbers
    note: str | None = None  # what the user should know about the choice


def describe(table: Table, name: str, kind: str | None = None) -> Column:
    """Return what a column holds.

    Args:
        table: all its rows.
        name: of the column.
        kind: taken as given; None looks at the values.
    """
    series = table.column(name)
    values = series.drop_nulls()
    note = None
    if kind is None:
        kind, note = _infer(table, series, values)
    elif series.dtype.is_nested() and kind in (*NUMERIC_KINDS, "categorical"):
        raise InputError(f"{table.name}, column '{name}': expected one value a row, found {series.dtype}.")
    numbers = parse_numbers(values) if kind in ("numeric", "target") else None
    extent = None
    if numbers is not None and len(numbers) and not numbers.null_count():
        extent = (float(numbers.min() or 0), float(numbers.max() or 0))  # pyright: ignore[reportArgumentType]
    examples = [] if series.dtype.is_nested() else as_text(values.unique(maintain_order=True).head(3)).to_list()
    distinct = 0 if series.dtype.is_nested() else values.n_unique()
    return Column(name, kind, len(series) - len(values), distinct, examples, extent, note)


def check_kinds(kinds: dict[str, str], columns: list[str]) -> None:
    """Refuse kinds for columns that don't exist, and kinds that don't."""
    for name, kind in kinds.items():
        if name not in columns:
            raise InputError(
                f"kinds: expected names of columns ({listed(columns)}), found '{name}'.{did_you_mean(name, columns)}"
            )
        if kind not in KINDS:
            raise InputError(
                f"kinds, column '{name}': expected one of {', '.join(KINDS)}, found '{kind}'.{did_you_mean(kind, KINDS)}"
            )


def _infer(table: Table, series: pl.Series, values: pl.Series) -> tuple[str, str | None]:
    name = series.name
    if series.dtype.is_nested() or isinstance(series.dtype, pl.Binary | pl.Object | pl.Time | pl.Duration):
        return "text", f"column '{name}' ignored: its type {series.dtype} is neither numbers nor words."
    if values.is_empty():
        return "constant", f"column '{name}' ignored: it is empty."
    if series.n_unique() == 1:
        return "constant", f"column '{name}' ignored: it is {shown(as_text(values)[0])} in every row."
    if series.dtype == pl.Boolean:
        return "boolean", None
    if series.dtype.is_temporal():
        return "date", None
    if series.dtype != pl.String or (_all_parse(parse_numbers, values) and not has_codes(values)):
        return _infer_numbers(series)
    if _all_parse(parse_booleans, values):
        return "boolean", None
    if _all_parse(parse_dates, values):
        return "date", None
    return _infer_words(table, series, values)


def _all_parse(parse: Callable[[pl.Series], pl.Series], values: pl.Series) -> bool:
    return parse(values).null_count() == 0


def has_codes(values: pl.Series) -> bool:
    """Whether some of the texts begin with a zero that a number would lose."""
    return values.dtype == pl.String and bool(values.str.contains(LEADING_ZERO).any())


def _infer_numbers(series: pl.Series) -> tuple[str, str | None]:
    """A column of numbers identifies its rows if no number is there twice and it counts them, or says so."""
    numbers = parse_numbers(series)
    if numbers.null_count() or not numbers.is_finite().all():
        return "numeric", None
    counts = np.array_equal(numbers.to_numpy(), np.arange(len(numbers)) + (numbers[0] if numbers[0] in (0, 1) else 0))
    if counts or (ID_NAME.fullmatch(series.name) and numbers.n_unique() == len(numbers)):
        return "id", f"column '{series.name}' ignored: it numbers the rows; {_keep(series.name, 'numeric')}."
    return "numeric", None


def _infer_words(table: Table, series: pl.Series, values: pl.Series) -> tuple[str, str | None]:
    name = series.name
    if values.str.contains(COMMA_NUMBER).any() and parse_numbers(values.str.replace_all(",", "")).null_count() == 0:
        row = _first(series.str.contains(",").fill_null(value=False))
        raise InputError(
            f"{table.place(row)}, column '{name}': expected a decimal point and no other separator, "
            f"found {shown(series[row])}. Write numbers as 1234.5, or use {_choice(name, 'categorical')} "
            f"(in a recipe: {_recipe_line(name, 'categorical')})."
        )
    note = ""
    no_number = parse_numbers(series).is_null() & series.is_not_null()
    if no_number.sum() <= len(values) / 20:  # nearly all are numbers; were the others meant to be?
        found = f"{shown(series[_first(no_number)])} ({table.place(_first(no_number))}) is no number"
        note = f"column '{name}' taken for words: {found if no_number.any() else 'some of its numbers begin with 0'}."
    elif hint := looks_like(values, DATE_LIKE, NUMBER_LIKE):
        note = f"column '{name}' taken for words: {hint}"
    distinct = values.n_unique()
    is_long = float(values.str.len_chars().mean() or 0) >= LONG_TEXT  # pyright: ignore[reportArgumentType]
    if distinct == len(series):
        is_id = not is_long and not values.str.contains(r"\s").any() and no_number.sum() > len(values) / 20
        kind = "id" if is_id or has_codes(values) else "text"
    elif distinct > FEW_CATEGORIES and (is_long or distinct > len(values) / 2):
        kind = "text"
    else:
        return "categorical", note or None
    ignored = (
        f"column '{name}' ignored: {distinct} different texts in {len(series)} rows; {_keep(name, 'categorical')}."
    )
    return kind, f"{note} {ignored}".strip()


def _keep(name: str, kind: str) -> str:
    return f"{_choice(name, kind)} would keep it"


def _choice(name: str, kind: str) -> str:
    """Return how to choose a kind on the command line; where a dot in the name forbids that, in a recipe."""
    return _recipe_line(name, kind) if "." in name else f"{shlex.quote(f'--data.kinds.{name}')} {kind}"


def _recipe_line(name: str, kind: str) -> str:
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return f'data.kinds.{key} = "{kind}"'


def looks_like(values: pl.Series, *forms: tuple[str, str]) -> str:
    """Say that texts look like one of these forms if nearly all do, and how they would be read as such; else ''."""
    for pattern, what in forms:
        alike = values.str.contains(pattern)
        if alike.sum() >= 0.95 * len(values):
            return f"{shown(values[_first(alike)])} looks like {what}"
    return ""


def numbers_of(table: Table, name: str, kind: str = "numeric") -> np.ndarray:
    """Return (N,) float64 values of a column: numbers, 0 and 1 for booleans, days since 1970 for dates; NaN if missing.

    Raises:
        InputError: a value is of another kind, or infinite; the first is named.
    """
    parse, expected = {
        "numeric": (parse_numbers, "a number"),
        "boolean": (parse_booleans, "true or false"),
        "date": (parse_dates, "a date such as 2026-01-31"),
    }[kind]
    series = table.column(name)
    numbers = parse(series)
    wrong = numbers.is_null() & series.is_not_null()
    if wrong.any():
        row = _first(wrong)
        raise InputError(f"{table.place(row)}, column '{name}': expected {expected}, found {shown(series[row])}.")
    infinite = numbers.is_infinite().fill_null(value=False)
    if infinite.any():
        row = _first(infinite)
        raise InputError(f"{table.place(row)}, column '{name}': expected a finite number, found {shown(series[row])}.")
    return numbers.to_numpy()


def parse_numbers(series: pl.Series) -> pl.Series:
    """Return float64, null where there is no number. Infinity is one, for the message it deserves."""
    if series.dtype == pl.String:
        return series.cast(pl.Float64, strict=False).fill_nan(None)
    if series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null):
        return series.cast(pl.Float64).fill_nan(None)
    return _no_values(series)


def parse_booleans(series: pl.Series) -> pl.Series:
    """Return float64 0 or 1, null where there is neither true nor false."""
    if series.dtype == pl.String:
        words = series.str.to_lowercase()
        return words.replace_strict({"true": 1.0, "false": 0.0}, default=None, return_dtype=pl.Float64)
    numbers = parse_numbers(series)
    return numbers.set(~numbers.is_in([0.0, 1.0]), None)


def parse_dates(series: pl.Series) -> pl.Series:
    """Return float64 days since 1970, null where there is no ISO date, with or without a time."""
    if series.dtype == pl.String:
        text = series.str.replace("T", " ", literal=True).str.strip_suffix("Z")
        text = text.set(~text.str.contains(r"^\d{4}-\d{2}-\d{2}( |$)"), None)
        times = [text.str.to_datetime(form, strict=False, time_unit="us") for form in DATE_FORMATS]
        series = pl.select(pl.coalesce(times)).to_series()
    if isinstance(series.dtype, pl.Date | pl.Datetime):
        return series.cast(pl.Datetime("us")).cast(pl.Int64) / 86_400e6
    return _no_values(series)


def as_text(series: pl.Series) -> pl.Series:
    """Return the values as words that are the same however the file stored them: 3, '3' and 3.0 are '3', True is 'true'."""
    words = series.cast(pl.String) if not series.dtype.is_nested() else _no_values(series).cast(pl.String)
    words = words.str.replace(r"^([+-]?\d+)\.0*$", "$1")
    return words.str.replace(r"^(?i)true$", "true").str.replace(r"^(?i)false$", "false")


def _no_values(series: pl.Series) -> pl.Series:
    return pl.Series(series.name, [None] * len(series), dtype=pl.Float64)


def _first(mask: pl.Series) -> int:
    return int(mask.arg_max() or 0)
