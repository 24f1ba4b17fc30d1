"""Tables of mixed columns as numbers and categories, the way the training rows taught it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from truestep.data.columns import NUMERIC_KINDS, as_text, numbers_of
from truestep.data.scale import mean_and_std, to_float32
from truestep.data.sources import read_table
from truestep.data.table import Table, listed
from truestep.data.targets import Target, encode_targets


@dataclass(frozen=True)
class NumericColumn:
    name: str
    kind: str  # numeric, boolean or date
    mean: float
    std: float
    indicator: bool  # whether a second number says that the value is missing


@dataclass(frozen=True)
class CategoricalColumn:
    name: str
    categories: tuple[str, ...]  # numbered from 1; 0 is for missing and unseen
    gaps: bool  # whether values were missing in training


@dataclass(frozen=True)
class TableEncoder:
    """Rows of a table to `{"numeric": (N, F) float32, "categories": (N, K) int64}`, without a key for none.

    Numbers are scaled to mean 0 and deviation 1, a missing one is the mean; behind them come the indicators, 1 where a
    value is missing, of the columns in which training rows had gaps. Columns are found by name, in any order.
    """

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    id_column: str | None = None

    @classmethod
    def fit(cls, table: Table, kinds: Mapping[str, str], id_column: str | None = None) -> TableEncoder:
        """Learn from training rows.

        Args:
            table: those rows, and no others.
            kinds: of the columns to use, in their order.
            id_column: kept for who reads the predictions.
        """
        numeric: list[NumericColumn] = []
        categorical: list[CategoricalColumn] = []
        for name, kind in kinds.items():
            if kind in NUMERIC_KINDS:
                values = numbers_of(table, name, kind)[:, None]
                mean, std = mean_and_std(values, f"{table.name}, column '{name}'")
                numeric.append(NumericColumn(name, kind, float(mean[0]), float(std[0]), bool(np.isnan(values).any())))
            else:
                words = as_text(table.column(name))
                categories = words.drop_nulls().unique().sort()
                categorical.append(CategoricalColumn(name, tuple(categories), bool(words.null_count())))
        return cls(tuple(numeric), tuple(categorical), id_column)

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "kind": "table",
            "num_numeric": len(self.numeric) + sum(column.indicator for column in self.numeric),
            "cardinalities": [len(column.categories) + 1 for column in self.categorical],
        }

    def read(self, source: Any) -> Table:
        """Read rows from anything `load` takes as a table."""
        return read_table(source)

    def encode(self, raw: Table | pl.DataFrame) -> dict[str, Tensor]:
        """Return the inputs of the model; columns that it doesn't know are passed over.

        Raises:
            InputError: a column is missing, or a value is not of its kind.
        """
        table = read_table(raw)
        inputs: dict[str, Tensor] = {}
        if self.numeric:
            scaled = [self._scaled(table, column) for column in self.numeric]
            gaps = [np.isnan(values) for values, column in zip(scaled, self.numeric, strict=True) if column.indicator]
            filled = [np.nan_to_num(values, nan=0.0) for values in scaled]
            inputs["numeric"] = torch.as_tensor(np.stack(filled + gaps, 1, dtype=np.float32, casting="unsafe"))
        if self.categorical:
            numbered = [_numbered(table, column) for column in self.categorical]
            inputs["categories"] = torch.as_tensor(np.stack(numbered, 1))
        return inputs

    def _scaled(self, table: Table, column: NumericColumn) -> np.ndarray:
        with np.errstate(over="ignore"):
            values = (numbers_of(table, column.name, column.kind) - column.mean) / column.std
        return to_float32(values, lambda row: f"{table.place(row)}, column '{column.name}'")

    def encode_labelled(self, source: Any, target: Target) -> tuple[dict[str, Tensor], Tensor]:
        """Return inputs and targets of rows that have the target column."""
        table = read_table(source)
        return self.encode(table), encode_targets(table, target)

    def ids(self, raw: Table | pl.DataFrame) -> pl.Series | None:
        """Return the column that identifies the rows, if there was one in training and is one here."""
        frame = read_table(raw).frame
        return frame[self.id_column] if self.id_column in frame.columns else None

    def notes(self, raw: Table | pl.DataFrame) -> list[str]:
        """Say which columns hold categories or gaps that training rows had none of, and what they count as."""
        table = read_table(raw)
        notes: list[str] = []
        for column in self.numeric:
            gaps = table.column(column.name).null_count()
            if gaps and not column.indicator:
                notes.append(_gaps_note(column.name, gaps, len(table.frame), "the mean"))
        for column in self.categorical:
            words = as_text(table.column(column.name))
            unseen = words.filter(~words.is_in(list(column.categories)))
            if count := len(unseen):
                verb, count_as = ("were", "they count") if count > 1 else ("was", "it counts")
                examples = listed(unseen.unique(maintain_order=True).to_list(), 3)
                notes.append(
                    f"column '{column.name}': {count} of {len(words)} values {verb} not seen in training ({examples}); "
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
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TableEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        numeric = tuple(NumericColumn(**column) for column in content["numeric"])
        categorical = tuple(
            CategoricalColumn(c["name"], tuple(c["categories"]), c["gaps"]) for c in content["categorical"]
        )
        for column in numeric:
            if column.kind not in NUMERIC_KINDS or not math.isfinite(column.mean) or not 0 < column.std < math.inf:
                raise ValueError(f"column {column.name!r}")
        for column in categorical:
            if pl.Series(column.categories, dtype=pl.String, strict=True).n_unique() != len(column.categories):
                raise ValueError(f"column {column.name!r}")
        if not numeric and not categorical:
            raise ValueError("no columns")
        return cls(numeric, categorical, content["id_column"])


def _gaps_note(name: str, gaps: int, rows: int, becomes: str) -> str:
    verb, count_as = ("are", "they count") if gaps > 1 else ("is", "it counts")
    return f"column '{name}': {gaps} of {rows} values {verb} missing, though none was in training; {count_as} as {becomes}."


def _numbered(table: Table, column: CategoricalColumn) -> np.ndarray:
    words = as_text(table.column(column.name))
    known = pl.Series(column.categories, dtype=pl.String)
    numbers = pl.DataFrame({"word": known, "number": range(1, len(known) + 1)})
    return (
        pl.DataFrame({"word": words})
        .join(numbers, on="word", how="left", maintain_order="left")["number"]
        .fill_null(0)
        .cast(pl.Int64)
        .to_numpy()
    )
