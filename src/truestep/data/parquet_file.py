"""Columns of Parquet files, read one at a time: a table may be larger than memory, a model's view of it rarely is."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from truestep.data.missing import MISSING, count_missing, without
from truestep.errors import InputError

if TYPE_CHECKING:
    import numpy as np

PLAIN = {pl.Categorical: pl.String, pl.Enum: pl.String, pl.Decimal: pl.Float64}  # types that only save memory


class ParquetFrame:
    """What a `pl.DataFrame` of these files would be, without reading more than is asked for.

    `columns`, `schema`, the length, `frame[name]`, `select` and `take` read nothing or the columns they name. Whatever
    else a data frame can do is done by one with all the columns, which is read for it and not kept.
    """

    def __init__(
        self,
        files: Sequence[Path],
        name: str,
        rows: np.ndarray | None = None,
        held: object = None,
        missing: tuple[str, ...] = (),
    ) -> None:
        self.files, self.name, self.rows = list(files), name, rows
        self.missing = missing  # words that stand for no value in this table, besides the usual ones
        self.held = held  # keeps temporary files on the disk for as long as this is used
        try:
            self._scan = pl.scan_parquet(self.files, glob=False, hive_partitioning=False)
            self.schema = self._scan.collect_schema()
            self._length = int(self._scan.select(pl.len()).collect().item()) if rows is None else len(rows)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise InputError(f"{name}: expected a Parquet file, but it can't be read ({_reason(error)}).") from None
        self.columns = self.schema.names()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        return self.column(key) if isinstance(key, str) else self.collect()[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # never a data frame's; asked for by pickle before there is anything here
            raise AttributeError(name)
        return getattr(self.collect(), name)

    def column(self, name: str) -> pl.Series:
        """Return one column.

        Raises:
            InputError: the file is damaged there.
        """
        try:
            series = self._scan.select(pl.col(name)).collect()[name]
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise InputError(f"{self.name}, column '{name}': can't be read ({_reason(error)}).") from None
        return plain(series if self.rows is None else series.gather(self.rows), self.missing)

    def select(self, *names: Any) -> pl.DataFrame:
        """Return some columns as a data frame; expressions are given to one with all columns."""
        flat = [name for part in names for name in ([part] if isinstance(part, str) else part)]
        if all(isinstance(name, str) for name in flat):
            return pl.DataFrame([self.column(name) for name in flat])
        return self.collect().select(*names)

    def take(self, rows: np.ndarray) -> ParquetFrame:
        """Return some of the rows, still unread."""
        rows = rows if self.rows is None else self.rows[rows]
        return ParquetFrame(self.files, self.name, rows, self.held, self.missing)

    def with_missing(self, words: tuple[str, ...]) -> ParquetFrame:
        """Return the same rows, in whose texts these words stand for no value, too."""
        return ParquetFrame(self.files, self.name, self.rows, self.held, (*self.missing, *words))

    def collect(self) -> pl.DataFrame:
        """Read everything."""
        return pl.DataFrame([self.column(name) for name in self.columns])


def plain(series: pl.Series, missing: tuple[str, ...] = ()) -> pl.Series:
    """Return a column with plain text or numbers for types that only save memory, and null for what is missing.

    In text the same words are missing as in a CSV file, so that a row means the same whichever way it comes in; and
    those in `missing`.
    """
    base = series.dtype.base_type()
    series = series.cast(PLAIN[base]) if base in PLAIN else series
    if series.dtype == pl.String:
        words = MISSING if not missing else (*MISSING, *missing)
        return without(series, count_missing(series, words))
    return series.fill_nan(None) if series.dtype.is_float() and series.is_nan().any() else series


class TemporaryFolder:
    """A folder that goes with the object that made it, in the process that made it: forks leave it alone."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        weakref.finalize(self, _remove, path, os.getpid())


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
