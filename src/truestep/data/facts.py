"""What was understood of the data, for people to check: columns, classes, splits, and what could make results wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from truestep.data.columns import Column
from truestep.data.split import LEAST_ROWS
from truestep.data.table import Table, shorten
from truestep.data.targets import Target

if TYPE_CHECKING:
    from torch import Tensor

MANY_COPIES = 0.1  # share of held-out rows that may have duplicates in training before it is a problem
MANY_RARE = 5  # more rare classes than this share one note


@dataclass
class Facts:
    """Notes say what was done; problems, what would make results wrong."""

    rows: int
    columns: list[Column] = field(default_factory=list[Column])
    classes: dict[str, int] = field(default_factory=dict[str, int])
    splits: dict[str, int] = field(default_factory=dict[str, int])
    notes: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts, for JSON; what a column has not is left out."""
        columns = [
            {key: value for key, value in asdict(column).items() if value not in (None, [])} for column in self.columns
        ]
        return asdict(self) | {"columns": columns}


def count_classes(targets: Tensor, target: Target) -> dict[str, int]:
    """Return how many rows each class has."""
    if target.class_names is None:
        return {}
    counts = targets.bincount(minlength=len(target.class_names))
    return {name: int(count) for name, count in zip(target.class_names, counts, strict=True)}


def note_gaps(facts: Facts, used: Mapping[str, str]) -> None:
    """Say which columns have missing values, and what becomes of them."""
    for column in facts.columns:
        if column.missing and column.name in used:
            becomes = "a category of their own" if column.kind == "categorical" else "the mean of training, and marked"
            facts.notes.append(
                f"column '{column.name}': {column.missing} missing of {facts.rows}; they become {becomes}."
            )


def note_rare_classes(facts: Facts) -> None:
    """Say which classes have too few rows to be in every split."""
    if len([size for size in facts.splits.values() if size]) < 2:
        return
    rare = {name: count for name, count in facts.classes.items() if count < LEAST_ROWS}
    becomes = "all for training, none to measure by."
    if len(rare) > MANY_RARE:
        examples = ", ".join(map(shorten, list(rare)[:3]))
        facts.notes.append(f"{len(rare)} classes have fewer than {LEAST_ROWS} rows ({examples}, ...): {becomes}")
        return
    for name, count in rare.items():
        facts.notes.append(f"class '{name}' has {count} row{'s' * (count > 1)}: {becomes}")


def note_copies(facts: Facts, keys: np.ndarray, splits: Mapping[str, Tensor]) -> None:
    """Say how many rows have the same inputs as an earlier one, and how many held-out ones have one in training.

    Args:
        facts: gets the notes.
        keys: (N,) a number for each row, equal for equal inputs.
        splits: row numbers of train, valid and test.
    """
    copies = len(keys) - len(np.unique(keys))
    if not copies:
        return
    held_out = np.concatenate([keys[splits[name].numpy()] for name in ("valid", "test")])
    across = int(np.isin(held_out, keys[splits["train"].numpy()]).sum())
    facts.notes.append(
        f"{copies} row{'s' * (copies > 1)} ha{'ve' if copies > 1 else 's'} the same inputs as an earlier one; "
        f"{across} of the {len(held_out)} held-out rows have duplicate inputs in training."
    )
    if across > MANY_COPIES * len(held_out):
        facts.problems.append(
            f"{across} of {len(held_out)} held-out rows have duplicate inputs in training: "
            "metrics show memory as much as learning."
        )


def note_giveaways(facts: Facts, table: Table, columns: list[str], target: Target) -> None:
    """Say which columns are the target under another name: each value goes with one class, and each class with one."""
    if not target.has_classes:
        return
    for name in columns:
        distinct = table.frame[name].n_unique()
        if distinct == len(target.class_names or ()) == table.frame.select(name, target.name).n_unique():
            facts.problems.append(
                f"column '{name}' tells the class in every row: is it known before '{target.name}' is?"
            )


def table_keys(table: Table, columns: list[str]) -> np.ndarray:
    """Return one number for each row, equal for rows equal in these columns."""
    return table.frame.select(columns).hash_rows().to_numpy()


def array_keys(inputs: np.ndarray) -> np.ndarray:
    """Return one number for each example, equal for equal ones."""
    rows = np.ascontiguousarray(inputs).reshape(len(inputs), -1)
    return pl.Series([row.tobytes() for row in rows], dtype=pl.Binary).hash().to_numpy()


def describe_inputs(inputs: np.ndarray) -> Column:
    """Return an array of inputs as one column."""
    shape = "x".join(map(str, inputs.shape[1:]))
    return Column("inputs", "numeric", 0, 0, [f"{inputs.dtype} {shape}"], (float(inputs.min()), float(inputs.max())))
