"""Nests: tensors in tuples, lists and dicts of any depth, which is what a batch may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Store(Protocol):
    """Examples that become tensors a batch at a time, such as texts of different lengths. A leaf of a nest, too."""

    def __len__(self) -> int: ...

    def batch_of(self, indices: Tensor) -> Any:
        """Return a nest of tensors of these examples, (n,) int64, in this order."""
        ...


def take(nest: Any, indices: Tensor) -> Any:
    """Return these examples of a nest of tensors and `Store`s, in this order, as a nest of tensors."""
    if isinstance(nest, Tensor):
        return nest.index_select(0, indices.to(nest.device))
    if isinstance(nest, Mapping):
        return {name: take(part, indices) for name, part in cast("Mapping[Any, Any]", nest).items()}
    if isinstance(nest, tuple | list):
        return type(nest)(take(part, indices) for part in cast("list[Any]", nest))
    return cast("Store", nest).batch_of(indices)


def leaves_of(nest: Any) -> Iterator[Tensor | Store]:
    """Yield the tensors and `Store`s of a nest in order; anything else in it is passed over."""
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, Mapping):
        for part in cast("Mapping[Any, Any]", nest).values():
            yield from leaves_of(part)
    elif isinstance(nest, tuple | list):
        for part in cast("list[Any]", nest):
            yield from leaves_of(part)
    elif isinstance(nest, Store):
        yield nest


def tensors_of(nest: Any) -> Iterator[Tensor]:
    """Yield the tensors of a nest in order; anything else in it is passed over."""
    return (leaf for leaf in leaves_of(nest) if isinstance(leaf, Tensor))


def map_tensors(function: Callable[[Tensor], Tensor], nest: Any) -> Any:
    """Return the same nest with `function` applied to each of its tensors."""
    if isinstance(nest, Tensor):
        return function(nest)
    if isinstance(nest, Mapping):
        return {name: map_tensors(function, part) for name, part in cast("Mapping[Any, Any]", nest).items()}
    if isinstance(nest, tuple | list):
        parts = [map_tensors(function, part) for part in cast("list[Any]", nest)]
        if hasattr(nest, "_fields"):  # a named tuple takes its fields one by one
            return type(nest)(*parts)
        return type(nest)(parts)
    return nest


def flatten(nest: Any) -> tuple[list[Tensor], Callable[[list[Tensor]], Any]]:
    """Return the tensors of a nest, and a function that puts others in their places."""
    if type(nest) is tuple and all(isinstance(part, Tensor) for part in cast("tuple[Any, ...]", nest)):
        return list(cast("tuple[Tensor, ...]", nest)), tuple  # nearly every batch is this, in every step

    def rebuild(tensors: list[Tensor]) -> Any:
        rest = iter(tensors)
        return map_tensors(lambda _: next(rest), nest)

    return list(tensors_of(nest)), rebuild


def to_device(nest: Any, device: torch.device) -> Any:
    """Return the nest with every tensor on `device`, without waiting for the copies."""
    return map_tensors(lambda tensor: tensor.to(device, non_blocking=True), nest)
