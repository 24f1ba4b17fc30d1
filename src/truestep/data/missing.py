"""Words that stand for no value, in files and frames alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Spellings of a missing value, in any case; the second line is what spreadsheets and statistics programs write.
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-", "--", "n.a.", "<na>", ".",
           "#n/a", "#na", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!", "k.a.", "missing")  # fmt: skip
LONGEST_MISSING = max(map(len, MISSING))
PIECE = 1 << 18  # values looked at together, to copy little
WIDEST = 4  # bytes of a letter, in whatever case


def plain_words(words: Iterable[str]) -> tuple[str, ...]:
    """Return words as they are compared: in small letters, without outer spaces, each once, and not those known anyway."""
    return tuple(word for word in dict.fromkeys(word.strip().lower() for word in words) if word not in MISSING)


def count_missing(series: pl.Series, words: tuple[str, ...] = MISSING) -> Counter[str]:
    """Return the texts of a column that stand for no value, as they are written, and how many there are of each."""
    longest = LONGEST_MISSING if words is MISSING else WIDEST * max(map(len, words), default=0)
    found: Counter[str] = Counter()
    for start in range(0, len(series), PIECE):
        piece = series.slice(start, PIECE)
        short = piece.filter(piece.str.len_bytes() <= longest)
        missing = short.filter(short.str.strip_chars().str.to_lowercase().is_in(words))
        found.update(dict(missing.value_counts().rows()))
    return found


def read_as_missing(name: str, words: Counter[str]) -> str:
    """Say that words of a column were taken for missing values; 'NA' may have been a country."""
    count = words.total()
    cells = f"column '{name}': {count} cell{'s' * (count > 1)}"
    if len(words) == 1:
        return f"{cells} '{next(iter(words))}' read as missing."
    found = ", ".join(
        f"{times} '{word}'" for word, times in sorted(words.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"{cells} read as missing: {found}."


def without(series: pl.Series, found: Iterable[str]) -> pl.Series:
    """Return a column of texts with null for these."""
    texts = sorted(found)
    return series.set(series.is_in(texts), None) if texts else series
