"""A table: rows in memory that remember where they came from, so that a message can name file and line."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from truestep.data.csv_file import read_csv
from truestep.data.missing import count_missing, plain_words, read_as_missing, without
from truestep.data.parquet_file import ParquetFrame, plain
from truestep.errors import InputError, did_you_mean

FORMATS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
TEXTS = (pl.String, pl.Categorical, pl.Enum)  # types of words


@dataclass(frozen=True)
class Table:
    """Rows and columns. From CSV all cells are text, because what a column holds is decided once, in training."""

    frame: pl.DataFrame
    name: str  # as in messages: the name of the file
    lines: Sequence[int] | np.ndarray | None = None  # of a text file, from 1, for each row
    rows: Sequence[int] | np.ndarray | None = None  # numbers from 0, if these are some rows of a table
    target: str | None = None  # the column to learn where that is known
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])  # of columns whose kind the source itself tells
    belongs: Sequence[int] | np.ndarray | None = None  # 0 train, 1 valid, 2 test of each row, where the source is split
    group: str | None = None  # the column whose equal values belong together, where that is known
    time: str | None = None  # the column that orders the rows, where that is known
    folder: Path | None = None  # that file names in its cells are relative to
    notes: list[str] = field(default_factory=list[str])
    places: Callable[[int], str] | None = None  # of rows that come from several tables
    separator: str | None = None  # of the cells of a text file
    missing: tuple[str, ...] = ()  # words that stand for no value here, besides those that do everywhere

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in their order."""
        return self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    def place(self, row: int) -> str:
        """Return where a row is: its line in a text file, else its number from 0."""
        if self.places is not None:
            return self.places(row if self.rows is None else int(self.rows[row]))
        if self.lines is not None:
            return f"{self.name}, line {self.lines[row]}"
        return f"{self.name}, row {row if self.rows is None else self.rows[row]}"

    def take(self, rows: Sequence[int] | np.ndarray) -> Table:
        """Return some of the rows, which keep the numbers they are known by."""
        rows = np.asarray(rows, dtype=np.int64)
        lines, numbers, belongs = (
            None if known is None else np.asarray(known)[rows] for known in (self.lines, self.rows, self.belongs)
        )
        frame = self.frame
        taken: Any = frame.take(rows) if isinstance(frame, ParquetFrame) else frame[rows]
        return replace(self, frame=taken, lines=lines, rows=rows if numbers is None else numbers, belongs=belongs)

    def with_missing(self, words: Iterable[str]) -> Table:
        """Return the rows with nothing in the place of these words, in any case and in all columns of text."""
        new = tuple(word for word in plain_words(words) if word not in self.missing)
        if not new:
            return self
        texts = [name for name, kind in self.frame.schema.items() if kind.base_type() in TEXTS]
        found = {name: count_missing(self.column(name), new) for name in texts}
        notes = [read_as_missing(name, words) for name, words in found.items() if words]
        frame = self.frame
        changed: Any = (
            frame.with_missing(new)
            if isinstance(frame, ParquetFrame)
            else frame.with_columns(without(frame[name], words) for name, words in found.items() if words)
        )
        return replace(self, frame=changed, notes=[*self.notes, *notes], missing=(*self.missing, *new))

    def column(self, name: str) -> pl.Series:
        """Return a column.

        Raises:
            InputError: it is not there.
        """
        frame = self.frame
        if isinstance(frame, ParquetFrame):
            series = frame.column(name) if name in frame.schema else None
        else:
            series = frame.get_column(name, default=None)  # without a list of all the names, of which there may be many
        if series is None:
            raise InputError(
                f"{self.name}: expected a column '{name}', found {listed(self.columns)}."
                f"{did_you_mean(name, self.columns)}"
            )
        return series


def table_of_frame(frame: pl.DataFrame, name: str = "table") -> Table:
    """Return a frame as a table; the types that only save memory become plain text and numbers."""
    _check_names(frame.columns, name)
    return Table(pl.DataFrame([plain(column) for column in frame]), name)


def table_of_file(path: Path) -> Table:
    """Read a CSV, TSV or Parquet file.

    Raises:
        InputError: not there, not a regular file, of another format, or damaged.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: expected a file, found none ({error.strerror}).{_near(path)}") from None
    except ValueError as error:  # a NUL byte in the name
        raise InputError(f"{str(path)!r}: not the name of a file ({error}).") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: expected a file ({', '.join(FORMATS)}), found a folder.")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: expected a regular file, found a pipe or a device; save its content first.")
    if not path.name.lower().endswith(FORMATS):
        raise InputError(f"{path}: expected one of {', '.join(FORMATS)}, found '{path.suffix or path.name}'.")
    if path.suffix.lower() != ".parquet":
        rows = read_csv(path)
        return Table(rows.frame, path.name, rows.lines, notes=rows.notes, separator=rows.separator)
    frame = ParquetFrame([path], path.name)
    _check_names(frame.columns, path.name)
    if not len(frame):
        raise InputError(f"{path.name}: expected rows, found none.")
    # It reads columns when they are asked for, and answers as a data frame does.
    return Table(cast("pl.DataFrame", frame), path.name)


def _check_names(columns: list[str], where: str) -> None:
    if unfit := [name for name in columns if not name or name != shorten(name, len(name))]:
        raise InputError(f"{where}: expected names of columns without line breaks or outer spaces, found {unfit[0]!r}.")


def listed(names: list[str], most: int = 20) -> str:
    """Return names separated by commas, the first of many."""
    names = [shorten(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown(value: object) -> str:
    """Return a value as in a message: words in quotes, short, and on one line."""
    return repr(shorten(value)) if isinstance(value, str) else shorten(str(value))


def shorten(text: str, most: int = 60) -> str:
    """Return text on one line, and no more of it than a message can bear."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}..."


def _near(path: Path) -> str:
    try:
        return did_you_mean(path.name, [file.name for file in path.parent.iterdir()])
    except OSError:
        return ""
