"""Tables with one column a pixel as images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from truestep.data.columns import numbers_of
from truestep.data.scale import mean_and_std, to_float32
from truestep.data.sources import read_table
from truestep.data.table import Table
from truestep.data.targets import Target, encode_targets
from truestep.errors import InputError

if TYPE_CHECKING:
    import polars as pl

PIXEL = re.compile(r"pixel_(\d{1,4})_(\d{1,4})")


def pixel_grid(columns: Iterable[str]) -> tuple[int, int] | None:
    """Return (height, width) if the columns named `pixel_ROW_COLUMN` make a whole grid, counted from 0."""
    found = {(int(match[1]), int(match[2])) for name in columns if (match := PIXEL.fullmatch(name))}
    height, width = (max((place[axis] for place in found), default=0) + 1 for axis in (0, 1))
    return (height, width) if len(found) == height * width > 1 else None


@dataclass(frozen=True)
class PixelEncoder:
    """Rows of pixels to (N, 1, H, W) float32, scaled by one mean and one deviation over all pixels of training."""

    height: int
    width: int
    mean: float
    std: float
    id_column: str | None = None

    @classmethod
    def fit(cls, table: Table, grid: tuple[int, int], id_column: str | None = None) -> PixelEncoder:
        """Learn from training rows.

        Args:
            table: those rows, and no others.
            grid: (height, width).
            id_column: kept for who reads the predictions.
        """
        mean, std = mean_and_std(pixel_values(table, *grid).reshape(-1, 1), f"{table.name}, pixels")
        return cls(*grid, float(mean[0]), float(std[0]), id_column)

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "image", "channels": 1, "height": self.height, "width": self.width}

    def read(self, source: Any) -> Table:
        """Read rows from anything `load` takes as a table."""
        return read_table(source)

    def encode(self, raw: Table | pl.DataFrame) -> Tensor:
        """Return the inputs of the model; other columns are passed over.

        Raises:
            InputError: a column is missing, or a value is no number.
        """
        table = read_table(raw)
        with np.errstate(over="ignore"):
            values = (pixel_values(table, self.height, self.width) - self.mean) / self.std
        return torch.as_tensor(to_float32(values, table.place)).reshape(-1, 1, self.height, self.width)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Return a batch of inputs as the model takes it: as it is."""
        return inputs

    def encode_labelled(self, source: Any, target: Target) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of rows that have the target column."""
        table = read_table(source)
        return self.encode(table), encode_targets(table, target)

    def ids(self, raw: Table | pl.DataFrame) -> pl.DataFrame | None:
        """Return the column that identifies the rows, if there was one in training and is one here."""
        table = read_table(raw)
        return table.column(self.id_column).to_frame() if self.id_column in table.columns else None

    def notes(self, raw: Any) -> list[str]:  # noqa: ARG002 - no pixel is missing or a word
        """Return nothing: pixels that `encode` takes are never missing, and no words."""
        return []

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "pixels",
            "height": self.height,
            "width": self.width,
            "mean": self.mean,
            "std": self.std,
            "id_column": self.id_column,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PixelEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        encoder = cls(*(content[name] for name in ("height", "width", "mean", "std", "id_column")))
        if min(index(encoder.height), index(encoder.width)) < 1:
            raise ValueError("height and width")
        if not math.isfinite(encoder.mean) or not 0 < encoder.std < math.inf:
            raise ValueError("mean and std")
        return encoder


def pixel_values(table: Table, height: int, width: int) -> np.ndarray:
    """Return (N, H * W) float64 in the order of an image, whatever the order of the columns."""
    columns = [numbers_of(table, f"pixel_{row}_{column}") for row in range(height) for column in range(width)]
    values = np.stack(columns, 1)
    missing = np.isnan(values)
    if missing.any():
        row, pixel = np.unravel_index(int(missing.argmax()), values.shape)
        name = f"pixel_{pixel // width}_{pixel % width}"
        raise InputError(f"{table.place(int(row))}, column '{name}': expected the value of a pixel, found none.")
    return values
