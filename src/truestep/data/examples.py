"""Arrays, tensors and PyTorch datasets as NumPy arrays, checked for being what they claim to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from truestep.device import preserved_rng
from truestep.errors import InputError
from truestep.nest import tensors_of

INPUT_TYPES = (torch.float32, torch.uint8, torch.int64)  # of examples: what models take, as numbers, bytes and indices
MOST_CHECKED = 20  # examples, where the dataset keeps its targets by itself


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


@dataclass(frozen=True)
class Scan:
    """What is known of a map-style dataset before it is trained on."""

    inputs: Any  # those of example 0: a tensor, or a nest of tensors
    targets: np.ndarray  # (N,) or (N, K), of all examples
    checked: int  # examples that were read: all, or some where the dataset itself keeps its targets


def scan_dataset(dataset: Dataset[Any], progress: Callable[[int, int], None] | None = None) -> Scan:
    """Return the targets of all examples, and check that a model can take the examples that are read for it.

    Reading every image of a dataset to learn its targets can take as long as an epoch. Where the dataset keeps them, as
    `targets` or `labels` like those of torchvision, also inside a `Subset` or a `ConcatDataset`, they are taken from
    there, after comparing some with those of the examples. Otherwise every example is read once, and none is kept.

    Args:
        dataset: of pairs (input, target). Inputs are tensors or arrays in float32, uint8 or int64 of any shape, or nests
            (tuples, dicts) of these; targets are numbers, () or (K,).
        progress: called with how many examples are read, and of how many.

    Raises:
        InputError: an example is no such pair, or unlike the first.
    """
    length = _length(dataset)
    known = kept_targets(dataset)
    with preserved_rng():
        if known is not None:
            rows = np.unique(np.linspace(0, length - 1, MOST_CHECKED).round().astype(int)).tolist()
            examples = list(_read(dataset, rows, None))
            first_inputs, first_target = examples[0]
            if all(np.array_equal(target, known[row]) for row, (_, target) in zip(rows, examples, strict=True)):
                return Scan(first_inputs, _one_each(known.astype(first_target.dtype)), len(rows))
        targets: list[np.ndarray] = []
        inputs: Any = None
        for row, (some, target) in enumerate(_read(dataset, range(length), progress)):
            inputs = some if row == 0 else inputs
            targets.append(target)
    return Scan(inputs, _one_each(np.stack(targets)), length)


def kept_targets(dataset: Any) -> np.ndarray | None:
    """Return the targets that a dataset keeps by itself, (N,) or (N, K), or None. They are as yet unchecked."""
    if isinstance(dataset, Subset):
        known = kept_targets(dataset.dataset)
        return None if known is None else known[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [kept_targets(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        alike = len(known) == len(parts) and len({part.shape[1:] for part in known}) == 1
        return np.concatenate(known) if alike else None
    if isinstance(dataset, TensorDataset):
        return as_array(dataset.tensors[1], "targets") if len(dataset.tensors) == 2 else None
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if not isinstance(values, list | tuple | np.ndarray | Tensor):
            continue
        try:
            found = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        except (ValueError, TypeError, RuntimeError):  # ragged, or of a type that NumPy has not
            continue
        if found.ndim in (1, 2) and found.dtype.kind in "biuf" and len(found) == len(dataset):
            return found
    return None


def read_targets(dataset: Dataset[Any]) -> tuple[tuple[int, ...], np.ndarray]:
    """Return the shape of one input, and all targets, (N,) or (N, K)."""
    scan = scan_dataset(dataset)
    return tuple(_one_tensor(scan.inputs).shape), scan.targets


def read_examples(dataset: Dataset[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return all inputs, (N, ...), of a dataset of single tensors, and all targets, (N,) or (N, K)."""
    with preserved_rng():
        inputs, targets = zip(*_read(dataset, range(_length(dataset)), None), strict=True)
    return np.stack([_one_tensor(each).numpy() for each in inputs]), _one_each(np.stack(targets))


def _one_tensor(inputs: Any) -> Tensor:
    if not isinstance(inputs, Tensor):
        raise InputError(f"dataset: expected one tensor as the inputs of an example, found {type(inputs).__name__}.")
    return inputs


def read_inputs(dataset: Dataset[Any]) -> np.ndarray:
    """Return all inputs, (N, ...), of a dataset of pairs (input, target) or of inputs alone."""
    if isinstance(dataset, TensorDataset):
        return as_array(dataset.tensors[0], "inputs")
    with preserved_rng():
        examples = [dataset[row] for row in range(_length(dataset))]
    return np.stack([as_array(example[0] if is_pair(example) else example, "inputs") for example in examples])


def _read(
    dataset: Dataset[Any], rows: Iterable[int], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield examples, after checking that a model can take each and that all are alike.

    They go to the model as the dataset gives them; a conversion here would be one that nobody sees.
    """
    first: str | None = None
    for count, row in enumerate(rows, 1):
        inputs, target = check_example(dataset[row], f"dataset, example {row}")
        shapes = f"inputs {_shapes(inputs)} and targets {target.shape}"
        first = first or shapes
        if shapes != first:
            raise InputError(
                f"dataset, example {row}: expected {first} as in example 0, found {_shapes(inputs)} and {target.shape}."
            )
        if progress is not None:
            progress(count, _length(dataset))
        yield inputs, target


def check_example(example: Any, where: str) -> tuple[Any, np.ndarray]:
    """Return the inputs of an example as a nest of tensors, and its target, () or (K,).

    Raises:
        InputError: no pair, or of a type that no model takes.
    """
    if not is_pair(example):
        raise InputError(f"{where}: expected a pair (input, target), found {type(example).__name__}.")
    inputs = _as_tensors(example[0], where)
    leaves = list(tensors_of(inputs))
    if not leaves:
        raise InputError(f"{where}: expected a tensor as input, found none in a {type(example[0]).__name__}.")
    for tensor in leaves:
        if tensor.dtype not in INPUT_TYPES or tensor.numel() == 0 or (tensor.ndim == 0 and tensor is inputs):
            raise InputError(
                f"{where}: expected inputs in float32, uint8 or int64 of at least one dimension, "
                f"found {str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}. "
                "Convert them in your dataset."
            )
    target = as_array(example[1], f"{where}, targets")
    if target.ndim > 1:
        raise InputError(f"{where}: expected a target () or (K,), found shape {target.shape}.")
    if target.dtype.kind not in "biuf":
        raise InputError(f"{where}: expected a number as target, found {target.dtype}.")
    return inputs, target


def same_example(one: Any, other: Any) -> bool:
    """Whether two examples hold the same numbers in the same places."""
    tensors = [[*tensors_of(_as_tensors(example, "example"))] for example in (one, other)]
    return len(tensors[0]) == len(tensors[1]) and all(map(torch.equal, *tensors))


def _as_tensors(value: Any, where: str) -> Any:
    """Return a nest of tensors and arrays as one of tensors."""
    if isinstance(value, Mapping):
        return {name: _as_tensors(part, where) for name, part in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, tuple | list):
        return tuple(_as_tensors(part, where) for part in cast("list[Any]", value))
    if isinstance(value, Tensor):
        return value.detach()
    array = as_array(value, f"{where}, inputs")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where}: expected numbers as inputs, found {array.dtype}.")
    return torch.as_tensor(array.copy())  # a copy, because it may be read-only


def _shapes(nest: Any) -> str:
    if isinstance(nest, Tensor):
        return str(tuple(nest.shape))
    if isinstance(nest, dict):
        return ", ".join(f"{name} {_shapes(part)}" for name, part in cast("dict[Any, Any]", nest).items())
    return "(" + ", ".join(map(_shapes, nest)) + ")"


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
