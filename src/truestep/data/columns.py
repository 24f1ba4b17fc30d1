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

from truestep.data.forms import (
    DATES,
    PLAIN,
    Form,
    dates_of,
    number_forms,
    numbers_written,
    without_nan,
)
from truestep.data.missing import plain_words
from truestep.data.table import Table, listed, shown
from truestep.errors import InputError, did_you_mean

NUMERIC_KINDS = ("numeric", "boolean", "date")  # become numbers
# What a user may call a column. Texts and images are learnt from where a model can read them; the last two never are.
KINDS = (*NUMERIC_KINDS, "categorical", "text", "image", "id", "ignored")

LEADING_ZERO = r"^[+-]?0\d"  # a code, such as a postal code: as a number it would lose its zeros
DATE_LIKE = (  # a pattern, and what to tell the user of a column of such texts
    r"^\d{1,2}[/.-]\d{1,2}[/.-]\d{4}\b|^\d{1,2}/\d{1,2}/\d{2}\b|^\d{4}[/.]\d{1,2}[/.]\d{1,2}\b",
    "a date; ISO dates, such as 2021-08-10, would be read as such.",
)
NUMBER_LIKE = (
    (
        r"^[+-]?\d{1,3}(\.?\d{3})*,\d+$|^[+-]?\d+,\d+$|^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
        r"|^[+-]?[$€£¥] ?\d[\d.,]*$|^[+-]?\d[\d.,]* ?[$€£¥%]$"
    ),
    "a number; plain numbers, such as 1000.5, would be read as such.",
)
IMAGE_NAME = r"(?i)\.(png|jpe?g|bmp|gif|webp|tiff?)$"
ID_NAME = re.compile(r"(?i:id|index|idx)|.*[_ -](?i:id)|.*[a-z]I[dD]")
TRUE, FALSE = ("true", "yes", "y", "t", "on"), ("false", "no", "n", "f", "off")

FEW_CATEGORIES = 20  # so many are categories in a table of any size
LONG_TEXT = 60  # characters on average, from which words are sentences
SENTENCE = 20  # characters on average, from which several words are, where most rows differ
PIECE = 2**18  # rows that are looked at together: bounds the memory of what lies between text and numbers
SAMPLE = 1000  # values, evenly spaced, that rule out most ways of writing
SAME_WORDS = ((r"^([+-]?\d+)\.0*$", "$1"), (r"^(?i:true)$", "true"), (r"^(?i:false)$", "false"))  # see `as_text`
FEW_WORDS = 5  # different ones that may all stand for missing numbers
NEARLY = 0.05  # share of values that may be something else, for a column to be nearly all numbers


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
    values = series.drop_nulls() if series.null_count() else series
    nested = series.dtype.is_nested()
    distinct = 0 if nested else _count_distinct(values)
    note = None
    if kind is None:
        kind, note = _infer(table, series, values, distinct)
    elif nested and kind in (*NUMERIC_KINDS, "categorical", "text", "image"):
        raise InputError(f"{table.name}, column '{name}': expected one value a row, found {series.dtype}.")
    extent = None
    if kind in ("numeric", "target"):
        form = (form_of(table, name) if kind == "numeric" else None) or PLAIN
        numbers = _parsed(values, lambda piece: numbers_written(piece, form))
        if len(numbers) and not np.isnan(numbers).any():
            extent = (float(numbers.min()), float(numbers.max()))
    examples: list[str] = []
    if not nested:
        first = values.head(3)
        if first.n_unique() < 3:
            first = values.head(PIECE).unique(maintain_order=True)
        if len(first) < min(3, distinct):
            first = values.unique(maintain_order=True)
        examples = as_text(first.head(3)).to_list()
    return Column(name, kind, series.null_count(), distinct, examples, extent, note)


def check_kinds(kinds: dict[str, str], columns: list[str]) -> None:
    """Refuse kinds for columns that don't exist, and kinds that don't."""
    for name, kind in kinds.items():
        if name not in columns:
            raise InputError(
                f"data.kinds: expected names of columns ({listed(columns)}), found '{name}'.{did_you_mean(name, columns)}"
            )
        if kind not in KINDS:
            raise InputError(
                f"data.kinds.{name}: expected one of {', '.join(KINDS)}, found '{kind}'.{did_you_mean(kind, KINDS)}"
            )


def _infer(table: Table, series: pl.Series, values: pl.Series, distinct: int) -> tuple[str, str | None]:
    name = series.name
    if series.dtype.is_nested() or isinstance(series.dtype, pl.Binary | pl.Object | pl.Time | pl.Duration):
        return "ignored", f"column '{name}' ignored: its type {series.dtype} is neither numbers nor words."
    if values.is_empty():
        return "constant", f"column '{name}' ignored: it is empty."
    if distinct == 1 and len(values) == len(series):
        return "constant", f"column '{name}' ignored: it is {shown(as_text(values.head(1))[0])} in every row."
    if series.dtype == pl.Boolean:
        return "boolean", None
    if series.dtype.is_temporal():
        return "date", None
    if series.dtype != pl.String:
        return _infer_numbers(series, distinct)
    return _infer_text(table, series, values, distinct)


def _infer_numbers(series: pl.Series, distinct: int) -> tuple[str, str | None]:
    """A column of numbers identifies its rows if no number is there twice and it counts them, or says so."""
    if series.null_count():
        return "numeric", None
    numbers = _parsed(series, parse_numbers)
    if not np.isfinite(numbers).all():
        return "numeric", None
    start = numbers[0] if numbers[0] in (0, 1) else 0
    counts = numbers[-1] == start + len(numbers) - 1 and np.array_equal(numbers, np.arange(len(numbers)) + start)
    if counts or (ID_NAME.fullmatch(series.name) and distinct == len(numbers)):
        return "id", f"column '{series.name}' ignored: it numbers the rows; {_keep(series.name, 'numeric')}."
    return "numeric", None


def _infer_text(table: Table, series: pl.Series, values: pl.Series, distinct: int) -> tuple[str, str | None]:
    """What a column of texts is: numbers, dates and the like if all of its values are, else words."""
    name = series.name
    most = int(len(values) * NEARLY)  # so many may be something else without ruling a kind out
    wrong, row = _misfits(series, parse_numbers, most)
    codes = has_codes(values)
    if not wrong and not codes:
        return _infer_numbers(series, distinct)
    if _are_booleans(values, distinct):
        return "boolean", None
    if not _misfits(series, parse_dates, 0)[0]:
        return "date", None
    if not _misfits(series, _image_names, 0)[0]:
        return "image", None
    nearly = (
        ""
        if wrong > most
        else (
            f"{shown(series[row])} ({table.place(row)}) is no number{missing_hint(series, parse_numbers)}"
            if wrong
            else "some of its numbers begin with 0"
        )
    )
    if wrong:
        try:
            form, misfit = _choose_form(series, table.separator, most)
        except _Ambiguous as ambiguous:
            return _infer_words(series, values, distinct, f"column '{name}' taken for words: {ambiguous}", most)
        if form and misfit is None:
            return "date" if form.date else "numeric", f"column '{name}': {form.described()}."
        if form and misfit is not None and not nearly:
            what = "date" if form.date else "number"
            example = shown(series[_first_fit(series, form)])
            nearly = f"{shown(series[misfit])} ({table.place(misfit)}) is no {what} like {example}"
            nearly += missing_hint(series, _parser(form))
    note = ""
    if nearly:
        note = f"column '{name}' taken for words: {nearly}."
    elif hint := looks_like(values.gather_every(max(1, len(values) // SAMPLE)), DATE_LIKE, NUMBER_LIKE):
        note = f"column '{name}' taken for words: {hint}"
    return _infer_words(series, values, distinct, note, most)


def _infer_words(series: pl.Series, values: pl.Series, distinct: int, note: str, most: int) -> tuple[str, str | None]:
    name = series.name
    length = float(values.str.len_chars().mean() or 0)  # pyright: ignore[reportArgumentType]
    spaces = float(values.head(PIECE).str.contains(r"\S\s+\S").mean() or 0)  # pyright: ignore[reportArgumentType]
    is_long = length >= LONG_TEXT
    is_sentences = is_long or (length >= SENTENCE and spaces >= 0.5)
    all_differ = distinct == len(series)
    if not all_differ and (distinct <= FEW_CATEGORIES or (not is_long and distinct <= len(values) / 2)):
        return "categorical", note or None
    numbers = _misfits(series, parse_numbers, most)[0] <= most
    if all_differ and (has_codes(values) or (not is_long and not spaces and not numbers)):
        kind = "id"
    elif is_sentences:
        return "text", note or None
    else:
        kind = "ignored"
    ignored = (
        f"column '{name}' ignored: {distinct} different texts in {len(series)} rows; {_keep(name, 'categorical')}."
    )
    return kind, f"{note} {ignored}".strip()


def _are_booleans(values: pl.Series, distinct: int) -> bool:
    """Whether all are true or false, in one pair of words; yes alone may just be a word."""
    if distinct > 2 * len(TRUE):
        return False
    words = set(values.unique().str.to_lowercase())
    return words <= {"true", "false"} or any(words == set(pair) for pair in zip(TRUE, FALSE, strict=True))


def _image_names(series: pl.Series) -> pl.Series:
    is_image = series.str.contains(IMAGE_NAME)
    return is_image.cast(pl.Float64).set(~is_image, None)


class _Ambiguous(Exception):  # noqa: N818 - a way out, not an error
    """A column can be read in two ways that mean different values; the words of a note."""


def form_of(table: Table, name: str, kind: str = "numeric") -> Form | None:
    """Return how a column of text writes its numbers or dates; None if plainly, or as nothing that is known.

    Raises:
        InputError: day and month, or thousands and decimals, can't be told apart.
    """
    series = table.column(name)
    parse = parse_dates if kind == "date" else parse_numbers
    if series.dtype != pl.String or kind == "boolean" or not _misfits(series, parse, 0)[0]:
        return None
    try:
        form, misfit = _choose_form(series, table.separator, int(len(series) * NEARLY))
    except _Ambiguous as ambiguous:
        raise InputError(f"{table.name}, column '{name}': {ambiguous}") from None
    if form is None or bool(form.date) != (kind == "date"):
        return None
    return (
        form
        if misfit is None or _misfits(series, parse, len(series))[0] > _misfits(series, _parser(form), len(series))[0]
        else None
    )


def _parser(form: Form) -> Callable[[pl.Series], pl.Series]:
    return lambda piece: dates_of(piece, form.date) if form.date else numbers_written(piece, form)


def _choose_form(series: pl.Series, separator: str | None, most: int) -> tuple[Form | None, int | None]:
    """Return the way of writing that all values have, or else nearly all, and the row of the first that has not."""
    sample = series.gather_every(max(1, len(series) // SAMPLE)).drop_nulls()
    forms = [Form(date=date) for date in DATES] + number_forms(sample)
    likely = [
        form
        for form in forms
        if _parser(form)(sample).null_count() <= max(0.15 * len(sample), min(most, len(sample) / 2))
    ]
    found = [(form, *_misfits(series, _parser(form), most)) for form in likely]
    whole = [form for form, wrong, _ in found if not wrong]
    if whole:
        return _only(whole, series, separator), None
    near = [(wrong, row, form) for form, wrong, row in found if wrong <= most]
    if not near:
        return None, None
    _, row, form = min(near, key=lambda found: found[0])
    return form, row


def _only(forms: list[Form], series: pl.Series, separator: str | None) -> Form:
    """Return the one of several ways to read a column that is meant."""
    example = shown(series[_first(series.is_not_null())])
    if forms[0].date:
        if {form.date for form in forms} >= {"%d/%m/%Y", "%m/%d/%Y"} or {form.date for form in forms} >= {
            "%d-%m-%Y",
            "%m-%d-%Y",
        }:
            raise _Ambiguous(
                f"{example} looks like a date, but day and month may be either way round; "
                "ISO dates, such as 2021-08-10, would be read as such."
            )
        return forms[0]
    decimal = [form for form in forms if form.decimal == ","]
    grouped = [form for form in forms if form.thousands == ","]
    if decimal and grouped and separator == ";":
        # Every comma has three digits behind it: 1,234 is 1234 in New York and 1.234 in Berlin.
        comma = shown(series[_first(series.str.contains(",", literal=True).fill_null(value=False))])
        raise _Ambiguous(
            f"{comma} looks like a number, but its comma may be a decimal one or not; write 1234 or 1.234."
        )
    return grouped[0] if grouped else forms[0]


def _misfits(series: pl.Series, parse: Callable[[pl.Series], pl.Series], most: int) -> tuple[int, int]:
    """Return how many values `parse` can't read, and the row of the first; counting stops past `most`."""
    sample = series.head(SAMPLE)
    count, first = 0, 0
    wrong_of_sample = parse(sample).null_count() - sample.null_count()
    if len(sample) == len(series) and not wrong_of_sample:
        return 0, 0
    if wrong_of_sample > max(most, 0):
        series = sample  # enough to know
    for start in range(0, len(series), PIECE):
        piece = series.slice(start, PIECE)
        parsed = parse(piece)
        if parsed.null_count() > piece.null_count():
            wrong = parsed.is_null() & piece.is_not_null()
            first = first if count else start + _first(wrong)
            count += int(wrong.sum())
            if count > most:
                break
    return count, first


def missing_hint(series: pl.Series, parse: Callable[[pl.Series], pl.Series]) -> str:
    """Return what to say behind the first value that `parse` can't read, if few words are all that stands in the way.

    That is for columns of which it reads nearly all: how these words would be read as missing.
    """
    found: dict[str, None] = {}
    for start in range(0, len(series), PIECE):
        piece = series.slice(start, PIECE)
        found |= dict.fromkeys(piece.filter(parse(piece).is_null() & piece.is_not_null()).to_list())
    words = plain_words(found)
    if not 0 < len(words) <= FEW_WORDS or any("," in word for word in words):
        return ""
    others = f", nor {'is' if len(found) == 2 else 'are'} {listed([shown(word) for word in list(found)[1:]])}"
    stand = "it stands" if len(found) == 1 else "they stand"
    nor = others if len(found) > 1 else ""
    return f"{nor}; if {stand} for no value: --data.missing {shlex.quote(','.join(words))}"


def _first_fit(series: pl.Series, form: Form) -> int:
    return _first(_parser(form)(series.head(PIECE)).is_not_null())


def _parsed(series: pl.Series, parse: Callable[[pl.Series], pl.Series]) -> np.ndarray:
    """Return (N,) float64, NaN where there is no number, a piece at a time."""
    numbers = np.empty(len(series), dtype=np.float64)
    for start in range(0, len(series), PIECE):
        numbers[start : start + PIECE] = parse(series.slice(start, PIECE)).to_numpy()  # null becomes NaN
    return numbers


def _count_distinct(values: pl.Series) -> int:
    """Return how many different values there are; of many, by 64 bits that stand for each."""
    if isinstance(values.dtype, pl.Object):
        return len(values)
    if len(values) <= 4 * PIECE:
        return values.n_unique()
    few = values.head(PIECE).unique()  # most columns of words have shown them all by now
    if values.dtype == pl.String and len(few) < PIECE // 8:
        for start in range(PIECE, len(values), PIECE):
            few = few.append(values.slice(start, PIECE).unique()).unique()
            if len(few) >= PIECE // 8:
                break
        else:
            return len(few)
    keys = values.hash().to_numpy().copy()
    keys.sort()
    return 1 + int(np.count_nonzero(keys[1:] != keys[:-1]))


def has_codes(values: pl.Series) -> bool:
    """Whether some of the texts begin with a zero that a number would lose."""
    return values.dtype == pl.String and bool(values.str.contains(LEADING_ZERO).any())


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


def numbers_of(table: Table, name: str, kind: str = "numeric", form: Form | None = None) -> np.ndarray:
    """Return (N,) float64 values of a column: numbers, 0 and 1 for booleans, days since 1970 for dates; NaN if missing.

    Args:
        table: has the column.
        name: of the column.
        kind: numeric, boolean or date.
        form: how text is to be read; None for plain numbers and ISO dates.

    Raises:
        InputError: a value is of another kind, or infinite; the first is named.
    """
    parse, expected = {
        "numeric": (parse_numbers, "a number"),
        "boolean": (parse_booleans, "true or false"),
        "date": (parse_dates, "a date such as 2026-01-31"),
    }[kind]
    series = table.column(name)
    if form is not None and series.dtype == pl.String:
        parse, expected = _parser(form), f"{'a date' if kind == 'date' else 'a number'} like {form.example()}"
    values = np.empty(len(series), dtype=np.float64)
    for start in range(0, len(series), PIECE):
        piece = series.slice(start, PIECE)
        numbers = parse(piece)
        if numbers.null_count() > piece.null_count():
            row = start + _first(numbers.is_null() & piece.is_not_null())
            raise InputError(f"{table.place(row)}, column '{name}': expected {expected}, found {shown(series[row])}.")
        part = values[start : start + PIECE]
        part[:] = numbers.to_numpy()  # null becomes NaN
        infinite = np.isinf(part)
        if infinite.any():
            row = start + int(infinite.argmax())
            raise InputError(
                f"{table.place(row)}, column '{name}': expected a finite number, found {shown(series[row])}."
            )
    return values


def parse_numbers(series: pl.Series) -> pl.Series:
    """Return float64, null where there is no number. Infinity is one, for the message it deserves."""
    if series.dtype == pl.String:
        return without_nan(series.cast(pl.Float64, strict=False))
    if series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null):
        return without_nan(series.cast(pl.Float64))
    return _no_values(series)


def parse_booleans(series: pl.Series) -> pl.Series:
    """Return float64 0 or 1, null where there is neither true nor false, in any of the words for them."""
    if series.dtype == pl.String:
        values = dict.fromkeys(TRUE, 1.0) | dict.fromkeys(FALSE, 0.0) | {"1": 1.0, "0": 0.0}
        return series.str.to_lowercase().replace_strict(values, default=None, return_dtype=pl.Float64)
    numbers = parse_numbers(series)
    return numbers.set(~numbers.is_in([0.0, 1.0]), None)


def parse_dates(series: pl.Series) -> pl.Series:
    """Return float64 days since 1970, null where there is no ISO date, with or without a time."""
    return dates_of(series, "")


def as_text(series: pl.Series) -> pl.Series:
    """Return the values as words that are the same however the file stored them: 3, '3' and 3.0 are '3', True is 'true'."""
    words = series.cast(pl.String) if not series.dtype.is_nested() else _no_values(series).cast(pl.String)
    if words.str.contains("|".join(pattern for pattern, _ in SAME_WORDS)).any():  # few columns have such words
        for pattern, word in SAME_WORDS:
            if words.str.contains(pattern).any():  # replacing copies them all
                words = words.str.replace(pattern, word)
    return words


def _no_values(series: pl.Series) -> pl.Series:
    return pl.repeat(None, len(series), dtype=pl.Float64, eager=True).alias(series.name)


def _first(mask: pl.Series) -> int:
    return int(mask.arg_max() or 0)
