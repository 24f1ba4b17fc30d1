"""Arrays, tensors and PyTorch datasets as NumPy arrays, checked for being what they claim to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from truestep.errors import InputError


def read_pair(source: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (N, ...) and targets (N,) or (N, K) of a pair of arrays or tensors, or of a dataset.

    Raises:
        InputError: not a pair, of different lengths, or without rows.
    """
    if isinstance(source, TensorDataset):
        source = source.tensors
    if isinstance(source, Dataset):
        return read_examples(cast("Dataset[Any]", source))
    if not is_pair(source):
        raise InputError(f"data: expected a pair (inputs, targets) of arrays, found {type(source).__name__}.")
    inputs, targets = as_array(source[0], "inputs"), _one_each(as_array(source[1], "targets"))
    if inputs.ndim < 2:
        raise InputError(f"inputs: expected shape (N, features) or (N, ...), found {inputs.shape}.")
    if targets.ndim not in (1, 2):
        raise InputError(f"targets: expected shape (N,) or (N, K), found {targets.shape}.")
    if len(inputs) != len(targets):
        raise InputError(
            f"data: expected as many targets as inputs, found {len(inputs)} inputs, {len(targets)} targets."
        )
    if inputs.size == 0:
        raise InputError(f"inputs: expected at least one number in each of some rows, found shape {inputs.shape}.")
    if inputs.dtype.kind not in "biuf":
        raise InputError(f"inputs: expected an array of numbers, found {inputs.dtype}. Give a table for mixed columns.")
    check_finite(inputs)
    return inputs, targets


def read_targets(dataset: Dataset[Any]) -> tuple[tuple[int, ...], np.ndarray]:
    """Return the shape of one input, and all targets, (N,) or (N, K); every example is read once and none is kept."""
    shape: tuple[int, ...] = ()
    targets: list[np.ndarray] = []
    for inputs, target in _examples(dataset):
        shape = inputs.shape
        targets.append(target)
    return shape, _one_each(np.stack(targets))


def read_examples(dataset: Dataset[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return all inputs, (N, ...), and all targets, (N,) or (N, K)."""
    inputs, targets = zip(*_examples(dataset), strict=True)
    return np.stack(inputs), _one_each(np.stack(targets))


def read_inputs(dataset: Dataset[Any]) -> np.ndarray:
    """Return all inputs, (N, ...), of a dataset of pairs (input, target) or of inputs alone."""
    if isinstance(dataset, TensorDataset):
        return as_array(dataset.tensors[0], "inputs")
    examples = [dataset[row] for row in range(_length(dataset))]
    return np.stack([as_array(example[0] if is_pair(example) else example, "inputs") for example in examples])


def _examples(dataset: Dataset[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the examples, after checking that a model can take each and that all are alike.

    They go to the model as the dataset gives them; a conversion here would be one that nobody sees.
    """
    first: tuple[np.ndarray, np.ndarray] | None = None
    for row in range(_length(dataset)):
        example = dataset[row]
        if not is_pair(example):
            found = type(example).__name__
            raise InputError(f"dataset, example {row}: expected a pair (input, target), found {found}.")
        inputs, target = as_array(example[0], "inputs"), as_array(example[1], "targets")
        if inputs.dtype != np.float32 or inputs.size == 0 or inputs.ndim == 0:
            raise InputError(
                f"dataset, example {row}: expected inputs in float32 of at least one dimension, "
                f"found {inputs.dtype} of shape {inputs.shape}. Convert them in your dataset."
            )
        if target.ndim > 1:
            raise InputError(f"dataset, example {row}: expected a target () or (K,), found shape {target.shape}.")
        first = first or (inputs, target)
        if (inputs.shape, target.shape) != (first[0].shape, first[1].shape):
            raise InputError(
                f"dataset, example {row}: expected inputs {first[0].shape} and targets {first[1].shape} "
                f"as in example 0, found {inputs.shape} and {target.shape}."
            )
        yield inputs, target


def _length(dataset: Dataset[Any]) -> int:
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise InputError(
            f"dataset: expected a map-style dataset with a length, found {type(dataset).__name__}. "
            "An iterable one can be given to truestep.fit in a DataLoader."
        )
    length = len(cast("Any", dataset))
    if length == 0:
        raise InputError("dataset: expected examples, found none.")
    return length


def _one_each(targets: np.ndarray) -> np.ndarray:
    return targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets


def is_pair(value: Any) -> bool:
    """Whether this is (inputs, targets), or an example (input, target)."""
    return isinstance(value, tuple | list) and len(cast("list[Any]", value)) == 2


def as_array(values: Any, name: str) -> np.ndarray:
    """Return an array or tensor as a NumPy array.

    Raises:
        InputError: it is neither.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return values.float().numpy() if values.dtype == torch.bfloat16 else values.numpy()
    if isinstance(values, np.ndarray | np.generic | float | int):
        return np.asarray(values)
    raise InputError(f"{name}: expected a NumPy array or a tensor, found {type(values).__name__}.")


def check_finite(values: np.ndarray) -> None:
    """Refuse NaN and infinity: in an array nothing says which numbers may be missing."""
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        row, *place = (int(index) for index in np.unravel_index(int((~finite).argmax()), values.shape))
        found = values[row, *place]
        raise InputError(f"inputs, row {row}, place {tuple(place)}: expected a finite number, found {found}.")
