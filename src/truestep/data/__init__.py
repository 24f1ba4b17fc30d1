"""Data of many kinds as three splits of tensors, an encoder that was fitted on training rows only, and the facts.

load(source) ─> Table or arrays ─> target ─> split ─> encoder.fit(train rows) ─> Data
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch.utils.data import Dataset, Subset, TensorDataset

from truestep.data import bundled, facts
from truestep.data.arrays import ArrayEncoder
from truestep.data.columns import KINDS, NUMERIC_KINDS, Column, check_kinds, describe
from truestep.data.encoder import Encoder, encoder_from_json
from truestep.data.examples import read_pair, read_targets
from truestep.data.facts import Facts
from truestep.data.keys import array_keys, row_keys, split_keys, values_of
from truestep.data.pixels import PIXEL, PixelEncoder, pixel_grid
from truestep.data.sources import read_table
from truestep.data.split import check_fractions, split_rows
from truestep.data.table import Table, listed
from truestep.data.tabular import TableEncoder
from truestep.data.targets import (
    Target,
    check_task,
    choose_array_target,
    choose_target,
    encode_array_targets,
    encode_targets,
    target_from_json,
)
from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "KINDS",
    "ArrayEncoder",
    "Column",
    "Data",
    "Encoder",
    "Facts",
    "PixelEncoder",
    "Split",
    "Table",
    "TableEncoder",
    "Target",
    "bundled",
    "encode_array_targets",
    "encode_targets",
    "encoder_from_json",
    "load",
    "read_table",
    "split_rows",
    "target_from_json",
]

FEWEST_ROWS = 10  # no split of fewer says anything


@dataclass(frozen=True)
class Split:
    """Some of the rows, ready for a model."""

    inputs: Any  # a tensor or a dict of tensors, (n, ...); None if examples are read from `dataset`
    targets: Tensor  # (n,) int64 classes; float32 (n,) or (n, K) numbers in their own units; float32 (n, L) labels
    rows: Tensor  # (n,) int64, their numbers in the source from 0
    dataset: Dataset[Any] | None = None  # the user's own, restricted to these rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Data:
    """All a run needs to know about its data."""

    name: str
    encoder: Encoder
    target: Target
    train: Split
    valid: Split  # may be empty, as may be
    test: Split
    facts: Facts

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "valid": self.valid, "test": self.test}


def load(
    source: Any,
    *,
    target: str | None = None,
    task: str = "auto",
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    drop: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
) -> Data:
    """Read data, split it, and fit its encoder on the training rows.

    Args:
        source: a bundled data set (`bundled.names()`), a .csv, .tsv or .parquet file, a polars or pandas frame, a pair
            (inputs, targets) of arrays or tensors, or a map-style PyTorch dataset of such pairs.
        target: the column to predict; bundled data knows its own.
        task: what to learn: auto, multiclass, binary, multilabel or regression.
        valid: share of rows to validate on, 0 for none.
        test: share of rows to test on, 0 for none.
        seed: of the split.
        drop: columns to leave out.
        kinds: column kinds (`KINDS`) to use instead of those found.

    Raises:
        InputError: the data can't be read, or can't be learnt from.
    """
    check_task(task)
    check_fractions(valid, test)
    if isinstance(source, tuple | list | Dataset):
        if target is not None or drop or kinds:
            raise InputError(
                "target, drop, kinds: expected none of them for arrays and datasets, which have no columns."
            )
        if isinstance(source, Dataset) and not isinstance(source, TensorDataset):
            return _load_dataset(cast("Dataset[Any]", source), task, valid, test, seed)
        return _load_arrays(*read_pair(source), task, valid, test, seed)
    name = Path(source).name.split(".")[0] if isinstance(source, str | Path) else "table"
    return _load_table(read_table(source), name, target, task, valid, test, seed, drop, dict(kinds or {}))


def _load_table(
    table: Table,
    name: str,
    target_name: str | None,
    task: str,
    valid: float,
    test: float,
    seed: int,
    drop: Sequence[str],
    kinds: dict[str, str],
) -> Data:
    columns = table.frame.columns
    target_name = target_name or table.target
    if target_name is None:
        raise InputError(
            f"{table.name}: expected the name of the column to learn, found no target. "
            f"Give --target COLUMN, one of: {listed(columns)}."
        )
    table.column(target_name)
    for column in drop:
        if column not in columns:
            raise InputError(
                f"drop: expected names of columns ({listed(columns)}), found '{column}'.{did_you_mean(column, columns)}"
            )
    if target_name in drop or target_name in kinds:
        raise InputError(f"drop, kinds: expected columns to learn from, found the target '{target_name}'.")
    check_kinds(kinds, columns)
    _check_rows(len(table.frame), table.name)

    target = choose_target(table, target_name, task)
    targets = encode_targets(table, target)
    features = [column for column in columns if column not in (*drop, target_name)]
    pixels = [column for column in features if PIXEL.fullmatch(column)]
    grid = pixel_grid(pixels)
    if grid:  # a corner that never changes is still a pixel
        kinds = dict.fromkeys(pixels, "numeric") | kinds
    known = kinds | {target_name: "target"}
    described = [describe(table, column, known.get(column)) for column in columns if column not in drop]
    used = {column.name: column.kind for column in described if column.kind in (*NUMERIC_KINDS, "categorical")}
    notes = [*table.notes, *(column.note for column in described if column.note)]
    if not used:
        raise InputError(
            f"{table.name}: expected a column to learn from besides '{target_name}', found none. {' '.join(notes)}".strip()
        )
    id_column = next((column.name for column in described if column.kind == "id"), None)
    keys = row_keys(values_of(table, used))
    rows = split_rows(
        split_keys(keys), valid=valid, test=test, seed=seed, classes=targets if target.has_classes else None
    )
    train = table.take(rows[0].numpy().tolist())
    encoder = (
        PixelEncoder.fit(train, grid, id_column)
        if grid and list(used) == pixels
        else TableEncoder.fit(train, used, id_column)
    )

    found = Facts(len(targets), described, notes=notes)
    columns = values_of(table, used)
    facts.examine(found, target, targets, _named(rows), keys=keys, columns=columns, used=used)
    return _data(name, encoder, target, encoder.encode(table), targets, rows, found)


def _load_arrays(inputs: np.ndarray, targets: np.ndarray, task: str, valid: float, test: float, seed: int) -> Data:
    _check_rows(len(targets), "inputs")
    target = choose_array_target(targets, task)
    encoded = encode_array_targets(targets, target)
    keys = array_keys(inputs)
    rows = split_rows(
        split_keys(keys), valid=valid, test=test, seed=seed, classes=encoded if target.has_classes else None
    )
    encoder = ArrayEncoder.fit(inputs[rows[0].numpy()])
    found = Facts(len(targets), [facts.describe_inputs(inputs)])
    facts.examine(found, target, encoded, _named(rows), keys=keys)
    return _data("arrays", encoder, target, encoder.encode(inputs), encoded, rows, found)


def _load_dataset(dataset: Dataset[Any], task: str, valid: float, test: float, seed: int) -> Data:
    """Split a dataset whose examples are read when they are needed; nothing in them is changed."""
    shape, targets = read_targets(dataset)
    _check_rows(len(targets), "dataset")
    if task == "auto" and targets.dtype.kind == "f":
        task = (
            "regression"  # a class is a whole number of an integer type: nothing is converted on the way to the model
        )
    target = choose_array_target(targets, task)
    if target.class_names not in (None, tuple(map(str, range(len(target.class_names or ()))))) or (
        target.has_classes and targets.dtype.kind not in "iu"
    ):
        raise InputError(
            f"dataset: expected classes as whole numbers 0, 1, 2, ... without a gap, found {targets.dtype} of "
            f"{listed(list(target.class_names or ()), 5)}. Number them in your dataset."
        )
    encoded = encode_array_targets(targets, target)
    keys = array_keys(np.arange(len(targets)))  # its examples are not read twice
    rows = split_rows(
        split_keys(keys), valid=valid, test=test, seed=seed, classes=encoded if target.has_classes else None
    )
    found = Facts(len(targets), [])
    facts.examine(found, target, encoded, _named(rows))
    return _data("dataset", ArrayEncoder(shape), target, dataset, encoded, rows, found)


def _data(
    name: str,
    encoder: Encoder,
    target: Target,
    inputs: Tensor | dict[str, Tensor] | Dataset[Any],
    targets: Tensor,
    rows: tuple[Tensor, Tensor, Tensor],
    found: Facts,
) -> Data:
    train, valid, test = (_split(inputs, targets, part) for part in rows)
    return Data(name, encoder, target, train, valid, test, found)


def _named(rows: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    return dict(zip(("train", "valid", "test"), rows, strict=True))


def _split(inputs: Tensor | dict[str, Tensor] | Dataset[Any], targets: Tensor, rows: Tensor) -> Split:
    if isinstance(inputs, Dataset):
        return Split(None, targets[rows], rows, Subset(inputs, rows.numpy().tolist()))
    taken = {name: part[rows] for name, part in inputs.items()} if isinstance(inputs, dict) else inputs[rows]
    return Split(taken, targets[rows], rows)


def _check_rows(count: int, where: str) -> None:
    if count < FEWEST_ROWS:
        raise InputError(f"{where}: expected at least {FEWEST_ROWS} rows to learn from, found {count}.")
