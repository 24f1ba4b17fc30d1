"""Tables of mixed columns as numbers and categories, the way the training rows taught it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from operator import index
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from truestep.data.columns import NUMERIC_KINDS, PIECE, as_text, form_of, numbers_of
from truestep.data.forms import Form
from truestep.data.missing import plain_words
from truestep.data.scale import MOST_KNOTS, SCALES, mean_and_std, quantiles, to_float32, to_normal
from truestep.data.sources import read_table
from truestep.data.table import Table, listed
from truestep.data.targets import Target, encode_targets
from truestep.errors import InputError, did_you_mean

MANY_CATEGORIES = 1000  # of more, those that training rows show once are left out: nothing can be learnt of them
MOST_CATEGORIES = 10_000  # the most frequent are kept


@dataclass(frozen=True)
class NumericColumn:
    name: str
    kind: str  # numeric, boolean or date
    mean: float
    std: float
    indicator: bool  # whether a second number says that the value is missing
    form: Form | None = None  # how text is read, where not as plain numbers or ISO dates
    knots: tuple[float, ...] = ()  # quantiles of training values; none to scale by mean and deviation


@dataclass(frozen=True)
class CategoricalColumn:
    name: str
    categories: tuple[str, ...]  # numbered from 1; 0 is for missing and unseen
    gaps: bool  # whether values were missing in training
    rare: int = 0  # words of training that were too rare to become categories, and count as missing


@dataclass(frozen=True)
class TableEncoder:
    """Rows of a table to `{"numeric": (N, F) float32, "categories": (N, K) int64}`, without a key for none.

    Numbers are scaled to mean 0 and deviation 1, or by their quantiles to a normal distribution; a missing one is 0;
    behind them come the indicators, 1 where a
    value is missing, of the columns in which training rows had gaps. Columns are found by name, in any order.
    """

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    id_column: str | None = None
    missing: tuple[str, ...] = ()  # words that stand for no value, besides those that do everywhere

    @classmethod
    def fit(
        cls, table: Table, kinds: Mapping[str, str], id_column: str | None = None, scale: str = "standard"
    ) -> TableEncoder:
        """Learn from training rows.

        Args:
            table: those rows, and no others.
            kinds: of the columns to use, in their order.
            id_column: kept for who reads the predictions.
            scale: of numbers: standard or quantile.
        """
        rows = np.arange(len(table))
        numeric, categorical = _by_kind(kinds)
        _check_scale(scale)
        return cls(
            tuple(_fit_numeric(table, name, kind, rows, scale)[0] for name, kind in numeric),
            tuple(_fit_categorical(table, name, rows) for name in categorical),
            id_column,
            table.missing,
        )

    @classmethod
    def fit_encode(
        cls,
        table: Table,
        rows: Tensor | np.ndarray | Sequence[int],
        kinds: Mapping[str, str],
        *,
        id_column: str | None = None,
        scale: str = "standard",
    ) -> tuple[TableEncoder, dict[str, Tensor]]:
        """Return an encoder and the inputs of all rows, reading each column once.

        Args:
            table: all rows; its columns are read one at a time.
            rows: (n,) the training rows. Means, quantiles and categories come from them alone; how a column is
                written (thousands commas, the order of day and month) from all rows, as its kind does.
            kinds: of the columns to use, in their order.
            id_column: kept for who reads the predictions.
            scale: of numbers: standard or quantile.
        """
        rows = np.asarray(rows, dtype=np.int64)
        _check_scale(scale)
        numeric, categorical = _by_kind(kinds)
        inputs: dict[str, Tensor] = {}
        columns: list[NumericColumn] = []
        if numeric:
            # Indicators come behind all numbers, and how many there are is known at the end: as many as may be.
            gaps = [table.column(name).null_count() > 0 for name, _ in numeric]
            indicators: list[np.ndarray] = []
            scaled = np.empty((len(table), len(numeric) + sum(gaps)), dtype=np.float32)
            for place, (name, kind) in enumerate(numeric):
                column, values = _fit_numeric(table, name, kind, rows, scale)
                missing = _put(scaled[:, place], values, table, column)
                columns.append(column)
                if column.indicator:
                    indicators.append(missing)
            for place, missing in enumerate(indicators, len(numeric)):
                scaled[:, place] = missing
            width = len(numeric) + len(indicators)
            inputs["numeric"] = torch.from_numpy(scaled if width == scaled.shape[1] else scaled[:, :width].copy())
        words: list[CategoricalColumn] = []
        if categorical:
            numbered = np.empty((len(table), len(categorical)), dtype=np.int64)
            for place, name in enumerate(categorical):
                series = table.column(name)
                words.append(_fit_words(series, rows))
                _number(numbered[:, place], series, words[-1])
            inputs["categories"] = torch.from_numpy(numbered)
        return cls(tuple(columns), tuple(words), id_column, table.missing), inputs

    @property
    def remarks(self) -> list[str]:
        """What to tell of the fit: which columns had more categories than are kept."""
        return [
            f"column '{column.name}': {column.rare + len(column.categories)} categories in training; the "
            f"{len(column.categories)} most frequent are kept, the others count as missing."
            for column in self.categorical
            if column.rare
        ]

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "kind": "table",
            "num_numeric": len(self.numeric) + sum(column.indicator for column in self.numeric),
            "cardinalities": [len(column.categories) + 1 for column in self.categorical],
        }

    def read(self, source: Any) -> Table:
        """Read rows from anything `load` takes as a table."""
        return read_table(source).with_missing(self.missing)

    def encode(self, raw: Table | pl.DataFrame) -> dict[str, Tensor]:
        """Return the inputs of the model; columns that it doesn't know are passed over.

        Raises:
            InputError: a column is missing, or a value is not of its kind.
        """
        table = self.read(raw)
        inputs: dict[str, Tensor] = {}
        if self.numeric:
            scaled = np.empty((len(table), self.spec["num_numeric"]), dtype=np.float32)
            behind = len(self.numeric)
            for place, column in enumerate(self.numeric):
                values = numbers_of(table, column.name, column.kind, column.form)
                missing = _put(scaled[:, place], values, table, column)
                if column.indicator:
                    scaled[:, behind] = missing
                    behind += 1
            inputs["numeric"] = torch.from_numpy(scaled)
        if self.categorical:
            numbered = np.empty((len(table), len(self.categorical)), dtype=np.int64)
            for place, column in enumerate(self.categorical):
                _number(numbered[:, place], table.column(column.name), column)
            inputs["categories"] = torch.from_numpy(numbered)
        return inputs

    def prepare(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch of inputs as the model takes it: as it is."""
        return inputs

    def encode_labelled(self, source: Any, target: Target) -> tuple[dict[str, Tensor], Tensor]:
        """Return inputs and targets of rows that have the target column."""
        table = self.read(source)
        return self.encode(table), encode_targets(table, target)

    def ids(self, raw: Table | pl.DataFrame) -> pl.DataFrame | None:
        """Return the column that identifies the rows, if there was one in training and is one here."""
        table = self.read(raw)
        return table.column(self.id_column).to_frame() if self.id_column in table.columns else None

    def notes(self, raw: Table | pl.DataFrame) -> list[str]:
        """Say which columns hold categories or gaps that training rows had none of, and what they count as."""
        table = self.read(raw)
        notes: list[str] = []
        for column in self.numeric:
            gaps = table.column(column.name).null_count()
            if gaps and not column.indicator:
                notes.append(_gaps_note(column.name, gaps, len(table), "the mean"))
        for column in self.categorical:
            words = as_text(table.column(column.name))
            known = pl.Series(column.categories, dtype=pl.String)
            unseen = words.filter(~words.is_in(known.implode()))
            if count := len(unseen):
                verb, count_as = ("were", "they count") if count > 1 else ("was", "it counts")
                seen = "seen often enough" if column.rare else "seen"
                examples = listed(unseen.unique(maintain_order=True).to_list(), 3)
                notes.append(
                    f"column '{column.name}': {count} of {len(words)} values {verb} not {seen} in training ({examples}); "
                    f"{count_as} as missing."
                )
            if (gaps := words.null_count()) and not column.gaps:
                notes.append(_gaps_note(column.name, gaps, len(words), "a category never seen"))
        return notes

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "table",
            "numeric": [asdict(column) for column in self.numeric],
            "categorical": [asdict(column) | {"categories": list(column.categories)} for column in self.categorical],
            "id_column": self.id_column,
            **({"missing": list(self.missing)} if self.missing else {}),  # as models from before it had none
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TableEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        numeric = tuple(_numeric_from_json(column) for column in content["numeric"])
        categorical = tuple(
            CategoricalColumn(c["name"], tuple(c["categories"]), c["gaps"], index(c.get("rare", 0)))
            for c in content["categorical"]
        )
        names = [column.name for column in (*numeric, *categorical)]
        if not all(isinstance(name, str) for name in (*names, content["id_column"] or "")):
            raise ValueError("names of columns that are no text")
        for column in numeric:
            if column.kind not in NUMERIC_KINDS or not math.isfinite(column.mean) or not 0 < column.std < math.inf:
                raise ValueError(f"column {column.name!r}")
        for column in categorical:
            if pl.Series(column.categories, dtype=pl.String, strict=True).n_unique() != len(column.categories):
                raise ValueError(f"column {column.name!r}")
        if not numeric and not categorical:
            raise ValueError("no columns")
        return cls(numeric, categorical, content["id_column"], plain_words(content.get("missing", ())))


def _gaps_note(name: str, gaps: int, rows: int, becomes: str) -> str:
    verb, count_as = ("are", "they count") if gaps > 1 else ("is", "it counts")
    return f"column '{name}': {gaps} of {rows} values {verb} missing, though none was in training; {count_as} as {becomes}."


def _by_kind(kinds: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    numeric = [(name, kind) for name, kind in kinds.items() if kind in NUMERIC_KINDS]
    return numeric, [name for name, kind in kinds.items() if kind not in NUMERIC_KINDS]


def _check_scale(scale: str) -> None:
    if scale not in SCALES:
        raise InputError(f"scale: expected one of {', '.join(SCALES)}, found '{scale}'.{did_you_mean(scale, SCALES)}")


def _fit_numeric(table: Table, name: str, kind: str, rows: np.ndarray, scale: str) -> tuple[NumericColumn, np.ndarray]:
    """Return what the training rows say of a column, and (N,) float64 of all rows, NaN if missing."""
    form = form_of(table, name, kind)
    values = numbers_of(table, name, kind, form)
    train = values[rows]
    known = train[~np.isnan(train)]
    gaps = len(known) < len(train)
    mean, std = mean_and_std(known[:, None], f"{table.name}, column '{name}'")
    if scale == "quantile" and kind != "boolean" and len(known) and known.min() < known.max():
        return NumericColumn(name, kind, 0.0, 1.0, gaps, form, tuple(quantiles(known).tolist())), values
    return NumericColumn(name, kind, float(mean[0]), float(std[0]), gaps, form), values


def _put(into: np.ndarray, values: np.ndarray, table: Table, column: NumericColumn) -> np.ndarray:
    """Write the scaled values of a column to (N,) float32, 0 if missing; return where they are missing: (N,) bool.

    `values` is used up.
    """
    missing = np.isnan(values)
    if column.knots:
        knots = np.asarray(column.knots)
        for start in range(0, len(values), PIECE):
            part = slice(start, start + PIECE)
            into[part] = np.nan_to_num(to_normal(values[part], knots), nan=0.0)
        return missing
    with np.errstate(over="ignore"):
        values -= column.mean
        values /= column.std
    for start in range(0, len(values), PIECE):
        part = slice(start, start + PIECE)
        into[part] = to_float32(
            np.where(missing[part], 0.0, values[part]),
            lambda row, start=start: f"{table.place(start + row)}, column '{column.name}'",
        )
    return missing


def _fit_categorical(table: Table, name: str, rows: np.ndarray) -> CategoricalColumn:
    return _fit_words(table.column(name), rows)


def _fit_words(series: pl.Series, rows: np.ndarray) -> CategoricalColumn:
    """Return the words of training rows in order; of very many, the frequent ones."""
    counts: pl.DataFrame | None = None
    missing = 0
    for start in range(0, len(rows), PIECE):
        words = as_text(series.gather(rows[start : start + PIECE])).alias("word")
        missing += words.null_count()
        found = words.drop_nulls().value_counts(name="count")
        counts = found if counts is None else pl.concat([counts, found]).group_by("word").agg(pl.col("count").sum())
    if counts is None or counts.is_empty():
        return CategoricalColumn(series.name, (), bool(missing))
    kept = counts
    if len(counts) > MANY_CATEGORIES:
        kept = (
            counts.filter(pl.col("count") > 1).sort(["count", "word"], descending=[True, False]).head(MOST_CATEGORIES)
        )
    rare = len(counts) - len(kept)
    return CategoricalColumn(series.name, tuple(kept["word"].sort()), bool(missing or rare), rare)


def _number(into: np.ndarray, series: pl.Series, column: CategoricalColumn) -> None:
    """Write the numbers of words to (N,) int64."""
    if not column.categories:
        into[:] = 0
        return
    known = pl.Enum(column.categories)
    for start in range(0, len(series), PIECE):
        numbers = as_text(series.slice(start, PIECE)).cast(known, strict=False).to_physical().cast(pl.Int64)
        into[start : start + PIECE] = (numbers + 1).fill_null(0).to_numpy()


def _numeric_from_json(content: dict[str, Any]) -> NumericColumn:
    form = None if content.get("form") is None else Form(**content["form"])
    if form is not None:
        form.check()
    knots = tuple(content.get("knots", ()))
    if knots and (
        len(knots) > MOST_KNOTS
        or not all(map(math.isfinite, knots))
        or any(knot > following for knot, following in pairwise(knots))
        or knots[0] == knots[-1]
    ):
        raise ValueError(f"column {content['name']!r}")
    kinds = {"name": str, "kind": str, "mean": int | float, "std": int | float, "indicator": bool}
    if not all(isinstance(content[name], kind) for name, kind in kinds.items()):
        raise ValueError(f"column {content['name']!r}")
    fields: dict[str, Any] = {**content, "form": form, "knots": knots}
    return NumericColumn(**fields)
