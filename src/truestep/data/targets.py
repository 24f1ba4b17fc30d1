"""What is learnt: which task a column of targets makes, and its values as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from truestep.data.columns import (
    NEARLY,
    NUMBER_LIKE,
    as_text,
    has_codes,
    looks_like,
    missing_hint,
    numbers_of,
    parse_numbers,
)
from truestep.data.scale import to_float32
from truestep.data.table import Table, listed, shown
from truestep.errors import InputError, did_you_mean

TASKS = ("multiclass", "binary", "multilabel", "regression", "next-token")
MANY_CLASSES = 20  # whole numbers with more different values are quantities


@dataclass(frozen=True)
class Target:
    """The column to predict, and what predicting it means."""

    task: str  # multiclass, binary, multilabel or regression
    name: str
    class_names: tuple[str, ...] | None  # of multiclass and binary, in the order of the classes
    num_outputs: int  # of a model: 1 for binary and for one number
    reason: str  # why this task, in words

    @property
    def has_classes(self) -> bool:
        return self.class_names is not None


def target_from_json(content: Mapping[str, Any]) -> Target:
    """Rebuild a target from its `asdict`; raises ValueError, TypeError or KeyError if that is damaged."""
    names = content["class_names"]
    fields: dict[str, Any] = {**content, "class_names": tuple(names) if names is not None else None}
    target = Target(**fields)
    outputs = {"binary": 1, "multiclass": len(names or ())}.get(target.task, target.num_outputs)
    if not isinstance(target.name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("name of the target")
    if target.task not in TASKS or target.num_outputs != outputs or outputs < 1:
        raise ValueError(f"target {target.name!r}")
    return target


def check_task(task: str) -> None:
    """Refuse a task that doesn't exist."""
    if task not in ("auto", *TASKS):
        raise InputError(
            f"objective: expected auto, {', '.join(TASKS)}, found '{task}'.{did_you_mean(task, ('auto', *TASKS))}"
        )


def choose_target(table: Table, name: str, task: str = "auto", *, is_class: bool = False) -> Target:
    """Return the task for a column, judged by all its values unless it is given.

    Args:
        table: all its rows.
        name: of the column.
        task: auto looks at the values.
        is_class: whether values are known to be names, even if they look like numbers, as names of folders are.

    Raises:
        InputError: values are missing or don't fit the task, or there is nothing to tell apart.
    """
    series = _complete(table, name)
    if task == "multilabel":
        raise InputError(
            f"objective: 'multilabel' needs one 0/1 target for every label, found the column '{name}'. "
            "Give arrays: (inputs, targets) with targets of shape (N, labels)."
        )
    labels = as_text(series)
    distinct = labels.n_unique()
    if distinct == 1:
        raise InputError(
            f"{table.name}, column '{name}': expected targets that differ, found {shown(labels[0])} in every row."
        )
    numbers = parse_numbers(series)
    is_numeric = series.dtype != pl.Boolean and not numbers.null_count() and not has_codes(series)
    is_whole = is_numeric and bool((numbers == numbers.round()).all())
    is_quantity = is_numeric and not is_class and not (is_whole and distinct <= MANY_CLASSES)
    usual = "regression" if is_quantity else "binary" if distinct == 2 else "multiclass"
    task = usual if task == "auto" else task
    what = (
        ("whole numbers" if is_whole else "numbers")
        if is_numeric
        else "values"
        if series.dtype == pl.Boolean
        else "text values"
    )
    # A run that goes on has a task in its recipe that nobody may have asked for: what the values say needs no other reason.
    reason = f"{name} has {distinct} distinct {what}" + (f"; {task} was chosen" if task != usual else "")
    if task == "regression":
        numbers_of(table, name)  # names the first that is none
        return Target(task, name, None, 1, reason)
    if is_numeric and not is_whole:
        row = int((numbers != numbers.round()).arg_max() or 0)
        raise InputError(
            f"{table.place(row)}, column '{name}': expected a class for {task}, found the number {series[row]}. "
            "For numbers use --objective regression."
        )
    if task == "binary" and distinct != 2:
        raise InputError(
            f"{table.name}, column '{name}': expected 2 classes for binary, found {distinct} "
            f"({listed(_in_order(labels), 5)}). Use --objective multiclass."
        )
    if distinct > len(series) / 2:
        raise InputError(
            f"{table.name}, column '{name}': expected classes with several rows each, "
            f"found {distinct} different values in {len(series)} rows. "
            f"{looks_like(labels, NUMBER_LIKE) or _not_quite_numbers(table, series) or 'Is this the column to learn?'}"
        )
    classes = tuple(_in_order(labels))
    return Target(task, name, classes, 1 if task == "binary" else len(classes), reason)


def _not_quite_numbers(table: Table, series: pl.Series) -> str:
    """Say which words keep targets from being numbers, if nearly all are."""
    wrong = parse_numbers(series).is_null()
    if series.dtype != pl.String or not 0 < int(wrong.sum()) <= NEARLY * len(series):
        return ""
    row = int(wrong.arg_max() or 0)
    return f"{shown(series[row])} ({table.place(row)}) is no number{missing_hint(series, parse_numbers)}"


def token_target(column: str, num_tokens: int, reason: str) -> Target:
    """Return the target of texts that are learnt token by token."""
    return Target("next-token", column, None, num_tokens, reason)


def with_targets(table: Table, name: str) -> Table:
    """Return the rows that have a target, with a note if others are left out; all of them if none has one."""
    missing = table.column(name).is_null()
    count = int(missing.sum())
    if not 0 < count < len(table):
        return table
    first = table.place(int(missing.arg_max() or 0))
    note = f"{count:,} of {len(table):,} rows have no '{name}' and are left out (the first: {first})."
    taken = table.take(np.flatnonzero(~missing.to_numpy()))
    return replace(taken, notes=[*table.notes, note])


def encode_targets(table: Table, target: Target) -> Tensor:
    """Return the targets of rows: (N,) int64 classes, or (N,) float32 numbers in their own units.

    Raises:
        InputError: a value is missing, is a class that was not there in training, or is no number.
    """
    series = _complete(table, target.name)
    if target.class_names is None:
        return torch.as_tensor(to_float32(numbers_of(table, target.name), table.place))
    labels = as_text(series)
    if (unknown := ~labels.is_in(list(target.class_names))).any():
        row = int(unknown.arg_max() or 0)
        raise InputError(
            f"{table.place(row)}: class {shown(labels[row])} is not among the {len(target.class_names)} classes seen in "
            f"training ({listed(list(target.class_names))}).{did_you_mean(labels[row], target.class_names)}"
        )
    numbers = {label: number for number, label in enumerate(target.class_names)}
    return torch.as_tensor(labels.replace_strict(numbers, return_dtype=pl.Int64).to_numpy().copy())


def choose_array_target(values: np.ndarray, task: str = "auto") -> Target:
    """Return the task for an array of targets: (N,), or (N, K) for several numbers or labels of 0 and 1.

    Raises:
        InputError: as `choose_target`.
    """
    if values.ndim == 1:
        return choose_target(_as_table(values), "target", task)
    _check_numbers(values)
    is_labels = bool(np.isin(values, (0, 1)).all())
    usual, reason = ("multilabel", "0 and 1 only") if is_labels else ("regression", "numbers")
    if task in ("auto", usual):
        task = usual
    elif task == "multilabel":
        row = int((~np.isin(values, (0, 1)).all(1)).argmax())
        raise InputError(f"targets, row {row}: expected 0 or 1 for every label, found {values[row].tolist()}.")
    elif task == "regression":
        reason = f"{task} was chosen"
    else:
        raise InputError(f"targets: expected shape (N,) for {task}, found {values.shape}.")
    return Target(task, "target", None, values.shape[1], f"targets have shape (N, {values.shape[1]}): {reason}")


def encode_array_targets(values: np.ndarray, target: Target) -> Tensor:
    """Return targets as `encode_targets`; (N, K) float32 if they were such in training."""
    if values.ndim == 1 and (target.has_classes or target.num_outputs == 1):
        return encode_targets(_as_table(values, target.name), target)
    if target.has_classes or values.shape[1:] != (target.num_outputs,):
        expected = "(N,)" if target.has_classes or target.num_outputs == 1 else f"(N, {target.num_outputs})"
        raise InputError(f"targets: expected shape {expected} as in training, found {values.shape}.")
    _check_numbers(values)
    return torch.as_tensor(to_float32(values, "targets, row {}".format))


def _as_table(values: np.ndarray, name: str = "target") -> Table:
    return Table(pl.DataFrame({name: values}).fill_nan(None), "targets")


def _check_numbers(values: np.ndarray) -> None:
    if values.dtype.kind not in "biuf":
        raise InputError(f"targets: expected numbers in an array of shape {values.shape}, found {values.dtype}.")
    if (wrong := ~np.isfinite(values).all(1)).any():
        row = int(wrong.argmax())
        raise InputError(f"targets, row {row}: expected finite numbers, found {values[row].tolist()}.")


def _complete(table: Table, name: str) -> pl.Series:
    """Return the column of targets after refusing any gap: an imputed target would be an invented truth."""
    series = table.column(name)
    if series.dtype.is_nested():
        raise InputError(f"{table.name}, column '{name}': expected one target a row, found {series.dtype}.")
    if missing := series.null_count():
        if missing == len(series):
            raise InputError(
                f"{table.name}, column '{name}': expected targets to learn or to compare with, found none: the whole "
                "column is empty (in text files NA, None, ? and the like count as missing). Is this the right column?"
            )
        row = int(series.is_null().arg_max() or 0)
        raise InputError(
            f"{table.place(row)}, column '{name}': expected a target in every row, found none here "
            f"({missing} missing of {len(series)}; in text files NA, None, ? and the like count as missing). Take these rows out."
        )
    return series


def _in_order(labels: pl.Series) -> list[str]:
    """Return the classes: numbers by size, words by letter."""
    classes = labels.unique().sort()
    numbers = parse_numbers(classes)
    if numbers.null_count():
        return classes.to_list()
    return [label for _, label in sorted(zip(numbers, classes, strict=True))]
