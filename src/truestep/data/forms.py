"""Ways in which people write numbers and dates in text, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

DAY = 86_400_000_000  # microseconds
# How dates are written, and the pattern that says so: strptime alone would take the year 21 for one of antiquity.
DATES = {
    "%Y/%m/%d": r"^[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}$",
    "%Y.%m.%d": r"^[0-9]{4}\.[0-9]{1,2}\.[0-9]{1,2}$",
    "%d.%m.%Y": r"^[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}$",  # nobody puts the month first between points
    "%d/%m/%Y": r"^[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}$",
    "%m/%d/%Y": r"^[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}$",
    "%d-%m-%Y": r"^[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}$",
    "%m-%d-%Y": r"^[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}$",
    "%d %b %Y": r"^[0-9]{1,2} [a-z]{3} [0-9]{4}$",  # and with the month in front; see `_with_short_month`
}
ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t|tember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
TIME = (  # behind a day
    r"^(?<day>.+?)(?:[Tt]|\s+)(?<hour>[0-9]{1,2}):(?<minute>[0-9]{2})(?::(?<second>[0-9]{2})(?<part>\.[0-9]+)?)?"
    r"\s?(?<half>[AaPp][Mm])?\s?(?<zone>[Zz]|UTC|[+-][0-9]{2}:?[0-9]{2})?$"
)
CURRENCY = "[$€£¥₹]|US[$]|[A-Z]{3}(?: |$)"
UNIT = "[%‰$€£¥₹]|[A-Za-zµ°Ω][A-Za-zµ°Ω²³/]{0,9}[23]?"
AROUND = (  # what stands around a number
    rf"^\(?[+-]?\s?(?<before>{CURRENCY})?\s?[+-]?(?:[0-9][0-9.,'\u{{2019}}\s]*?(?:[eE][+-]?[0-9]+)?|[.,][0-9]+)\s?(?<after>{UNIT})?\)?$"
)
SPACES = "[ \u00a0\u2009\u202f]"
NAMES = {",": "commas", ".": "points", " ": "spaces", "'": "apostrophes"}


@dataclass(frozen=True)
class Form:
    """One way to write all the numbers, or all the dates, of a column."""

    before: str = ""  # a currency
    after: str = ""  # a currency, a percent sign, a unit
    thousands: str = ""  # between groups of three digits: a comma, a point, a space, an apostrophe
    decimal: str = "."
    brackets: bool = False  # around negative numbers
    date: str = ""  # one of DATES; a number if there is none

    def check(self) -> None:
        """Raise ValueError if this is none of ours, as that of a damaged file may be."""
        texts = (self.before, self.after, self.thousands, self.decimal, self.date)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.brackets, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # who knows what a file holds
            raise ValueError("form")
        if self.thousands not in ("", *NAMES) or self.decimal not in (".", ",") or self.date not in ("", *DATES):
            raise ValueError("form")

    def described(self) -> str:
        """Return what was done, for a note."""
        if self.date:
            return f"read as dates like {self.example()}"
        without = [f"'{unit}'" for unit in (self.before, self.after) if unit]
        without += [f"thousands {NAMES[self.thousands]}"] if self.thousands else []
        words = f"read as numbers without {' and '.join(without)}" if without else "read as numbers"
        with_ = ["decimal commas"] if self.decimal == "," else []
        with_ += ["negative ones in brackets"] if self.brackets else []
        return f"{words}, with {' and '.join(with_)}" if with_ else words

    def example(self) -> str:
        """Return a value that is written so, in quotes."""
        if self.date:
            word = self.date.replace("%d", "31").replace("%m", "01").replace("%b", "Jan").replace("%Y", "2026")
            return f"'{word}'"
        number = f"1{self.thousands}234{self.decimal}5"
        before = f"{self.before} " if self.before.isalpha() else self.before
        after = f" {self.after}" if self.after.isalpha() else self.after
        return f"'({before}{number}{after})'" if self.brackets else f"'{before}{number}{after}'"


PLAIN = Form()


def number_forms(sample: pl.Series) -> list[Form]:
    """Return the ways in which these texts may be numbers, likeliest first; which is right, all values must say."""
    text = _plain_signs(sample)
    around = text.str.extract_groups(AROUND).struct.unnest().fill_null("")
    fits = around.filter(text.str.contains(AROUND))
    if fits.is_empty():
        return []
    units = (
        fits.group_by("before", "after", maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    )
    before, after = units.row(0)[:2]
    brackets = bool(text.str.contains(r"^\(.*\)$").any())
    return list(_forms(text, before.strip(), after, brackets))


def _forms(text: pl.Series, before: str, after: str, brackets: bool) -> Iterator[Form]:
    """Yield the separators that may be meant, given what stands around the numbers."""
    comma, point = (bool(text.str.contains(mark, literal=True).any()) for mark in ",.")
    if before or after or brackets:
        yield Form(before, after, "", ".", brackets)
    if comma:
        yield Form(before, after, ",", ".", brackets)
        yield Form(before, after, "." if point else "", ",", brackets)
    # Phone numbers and the like come in groups, too; quantities differ in length.
    if text.str.len_chars().n_unique() > 1:
        for thousands, pattern in ((" ", rf"[0-9]{SPACES}[0-9]"), ("'", "[0-9]['\u2019][0-9]")):
            if text.str.contains(pattern).any():
                yield Form(before, after, thousands, "," if comma else ".", brackets)


def numbers_written(series: pl.Series, form: Form) -> pl.Series:
    """Return float64, null where no number is written in this form; a column of numbers as it is."""
    if series.dtype != pl.String:
        if series.dtype.is_numeric() or isinstance(series.dtype, pl.Boolean | pl.Null):
            return without_nan(series.cast(pl.Float64))
        return pl.repeat(None, len(series), dtype=pl.Float64, eager=True).alias(series.name)
    if form == PLAIN:
        return without_nan(series.cast(pl.Float64, strict=False))
    text = _plain_signs(series)
    if form.brackets:
        text = text.str.replace(r"^\(\s*([^+-].*?)\s*\)$", "-$1")
    thousands = SPACES if form.thousands == " " else "['\u2019]" if form.thousands == "'" else re.escape(form.thousands)
    decimal = re.escape(form.decimal)
    groups = rf"[1-9][0-9]{{0,2}}(?:{thousands}[0-9]{{3}})+|" if form.thousands else ""
    number = rf"(?:{groups}0|[1-9][0-9]*)(?:{decimal}[0-9]*)?(?:[eE][+-]?[0-9]+)?|{decimal}[0-9]+"
    whole = rf"^([+-]?)\s?{re.escape(form.before)}\s?([+-]?)({number})\s?{re.escape(form.after)}$"
    digits = text.str.replace(whole, "$1$2$3")
    digits = digits.set(~text.str.contains(whole), None)
    if form.thousands:
        digits = digits.str.replace_all(thousands, "")
    return digits.str.replace(form.decimal, ".", literal=True).cast(pl.Float64, strict=False).alias(series.name)


def without_nan(numbers: pl.Series) -> pl.Series:
    """Return float64 with null for NaN; most columns have none, and looking is quicker than replacing."""
    return numbers.fill_nan(None) if numbers.null_count() < np.isnan(numbers.to_numpy()).sum() else numbers


def _plain_signs(series: pl.Series) -> pl.Series:
    return series.str.replace_all("\u2212", "-", literal=True)


def dates_of(series: pl.Series, form: str) -> pl.Series:
    """Return float64 days since 1970, in UTC where a zone is given; null where there is no date.

    Args:
        series: texts, or dates of any type.
        form: of the day, one of `DATES`, "" for ISO. A time may follow.
    """
    if isinstance(series.dtype, pl.Date | pl.Datetime):
        return series.cast(pl.Datetime("us")).cast(pl.Int64) / 86_400e6
    if series.dtype != pl.String:
        return pl.repeat(None, len(series), dtype=pl.Float64, eager=True).alias(series.name)
    day, time = series, pl.Series([0]).new_from_index(0, len(series))
    if series.str.contains(":", literal=True).any():
        has_time = series.str.contains(TIME)
        parts = series.str.extract_groups(TIME).struct.unnest()
        day = series.set(has_time, None).fill_null(parts["day"])
        time = time.set(has_time, None).fill_null(parts.select(_microseconds()).to_series())
    if form == "%d %b %Y":
        day = _with_short_month(day)
    day = day.set(~day.str.contains(DATES[form] if form else ISO), None)
    days = day.str.to_date(form or "%Y-%m-%d", strict=False).cast(pl.Int64)
    return ((days * DAY + time) / 86_400e6).alias(series.name)


def _microseconds() -> pl.Expr:
    """Return the time of day in microseconds, moved to UTC; null for an hour that no clock shows."""
    hour, minute = pl.col("hour").cast(pl.Int64), pl.col("minute").cast(pl.Int64)
    half = pl.col("half").str.to_lowercase()
    hour_of_day = pl.when(half.is_null()).then(hour).when(half == "pm").then(hour % 12 + 12).otherwise(hour % 12)
    second = pl.col("second").cast(pl.Int64).fill_null(0)
    part = (("0" + pl.col("part")).cast(pl.Float64).fill_null(0.0) * 1e6).floor().cast(pl.Int64)
    digits = pl.col("zone").str.replace_all(r"[^0-9]", "")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2).cast(
        pl.Int64, strict=False
    )
    sign = pl.when(pl.col("zone").str.starts_with("-")).then(-1).otherwise(1)
    real = (hour < 24) & (minute < 60) & (second < 60) & (half.is_null() | hour.is_between(1, 12))
    total = ((hour_of_day * 60 + minute) * 60 + second) * 1_000_000 + part - (sign * minutes).fill_null(0) * 60_000_000
    return pl.when(real).then(total)


def _with_short_month(text: pl.Series) -> pl.Series:
    """Return '10 aug 2021' for '10 August 2021', '10-Aug-2021' and 'August 10, 2021'."""
    text = text.str.to_lowercase()
    text = text.str.replace(rf"^({MONTH})\.?\s+([0-9]{{1,2}})(?:st|nd|rd|th)?,?\s+([0-9]{{4}})$", "$2 $1 $3")
    pattern = rf"^([0-9]{{1,2}})(?:st|nd|rd|th)?[\s-]+({MONTH})\.?,?[\s-]+([0-9]{{4}})$"
    month = text.str.extract(pattern, 2).str.slice(0, 3)
    return text.str.extract(pattern, 1) + " " + month + " " + text.str.extract(pattern, 3)
