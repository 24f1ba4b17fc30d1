"""Batches whose order is a function of (seed, epoch), so that resuming needs one integer and no saved iterator.

Data that is already in memory as tensors is cut with one index operation a batch, instead of example by example: on
small models that is most of a step's time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from truestep import distributed
from truestep.errors import InputError
from truestep.nest import flatten, map_tensors, tensors_of, to_device

EVALUATION_BATCH_SIZE = 1024  # fixed, because the last bits of a row's outputs depend on the size of its batch


class Batches:
    """Examples cut into batches, in an order that anyone can compute again.

    Args:
        data: a nest (tuple, dict) of tensors that share their first dimension, most often `(inputs, targets)`; or a
            map-style PyTorch dataset.
        batch_size: examples a batch, over all processes together. The last batch of an epoch may be smaller.
        shuffle: a new order each epoch, drawn from (seed, epoch) by a generator of our own.
        seed: of that order.
        device: where batches are moved to; None leaves them where the data is.
        num_workers: processes that read a dataset; tensors need none.
        every_rank: whether each process sees all the examples instead of its share.
        rows: the numbers by which people know the examples, for messages: (N,) int64. By default 0 to N - 1.

    Raises:
        InputError: the data is empty, its tensors differ in length, or it has no length at all.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        device: torch.device | str | None = None,
        num_workers: int = 0,
        every_rank: bool = False,
        rows: Tensor | None = None,
    ) -> None:
        if isinstance(data, TensorDataset):
            data = data.tensors
        if batch_size < 1:
            raise InputError(f"batch_size: expected at least 1, found {batch_size}.")
        self.data, self.batch_size, self.shuffle, self.seed = data, batch_size, shuffle, seed
        self.num_workers, self.every_rank = num_workers, every_rank
        self.num_examples, self.rows = _length(data), rows
        self.device = None if device is None else torch.device(device)
        if self.num_examples == 0:
            raise InputError("data: expected at least one example, found none.")

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(self.num_examples / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        return self.epoch()

    @property
    def in_memory(self) -> bool:
        """Whether the data is a nest of tensors, to be cut by whole batches."""
        return not isinstance(self.data, Dataset)

    def order(self, epoch: int = 0) -> Tensor:
        """Return the indices of all examples in the order of an epoch: (N,) int64."""
        if not self.shuffle:
            return torch.arange(self.num_examples)
        return torch.from_numpy(self._generator(epoch).permutation(self.num_examples))

    def _generator(self, epoch: int) -> np.random.Generator:
        # Our own: the global one would be shifted by every epoch, and every dropout mask after it. NumPy's, because it
        # mixes the two numbers; torch's takes the lowest 32 bits of one, and (seed << 32) + epoch would lose the seed.
        return np.random.default_rng([self.seed, epoch])

    def indices(self, epoch: int = 0) -> Sequence[Tensor]:
        """Return the indices of each batch of an epoch, over all processes."""
        return self.order(epoch).split(self.batch_size)

    def name(self, epoch: int, batch: int, count: int = 1) -> str:
        """Return the numbers of the first examples in `count` batches, for a message."""
        indices = torch.cat(list(self.indices(epoch)[batch : batch + count]))
        numbers = (indices if self.rows is None else self.rows[indices]).tolist()
        return ", ".join(map(str, numbers[:8])) + (f", ... ({len(numbers)} in all)" if len(numbers) > 8 else "")

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Any]:
        """Yield the batches of one epoch from the `start`-th on; with several processes, this one's share of each."""
        shares = self.indices(number)[start:]
        if not self.every_rank and distributed.world_size() > 1:
            shares = [share[distributed.rank() :: distributed.world_size()] for share in shares]
        return self._cut(shares) if self.in_memory else self._load(shares, number)

    def _cut(self, shares: Sequence[Tensor]) -> Iterator[Any]:
        tensors, rebuild = flatten(self.data)
        for share in shares:
            indices = share.to(tensors[0].device)
            rows = [tensor.index_select(0, indices) for tensor in tensors]
            if self.device is not None:
                rows = [tensor.to(self.device, non_blocking=True) for tensor in rows]
            yield rebuild(rows)

    def _load(self, shares: Sequence[Tensor], epoch: int) -> Iterator[Any]:
        # The loader, too, would draw its workers' seed from the global generator, even without shuffling.
        generator = torch.Generator().manual_seed(int(self._generator(epoch).integers(2**32)))
        loader: DataLoader[Any] = DataLoader(
            self.data,
            batch_sampler=[share.tolist() or [0] for share in shares],  # nobody can collate no examples: see below
            num_workers=self.num_workers,
            generator=generator,
        )
        for share, batch in zip(shares, loader, strict=True):
            rows = batch if len(share) else map_tensors(lambda tensor: tensor[:0], batch)
            yield rows if self.device is None else to_device(rows, self.device)


def batches_on(device: torch.device, batches: Iterable[Any], epoch: int = 0, start: int = 0) -> Iterator[Any]:
    """Yield the batches of one epoch from the `start`-th on, on a device.

    Args:
        device: of the model.
        batches: `Batches`, or any other iterable of batches, which knows no epochs: it is begun anew each time.
        epoch: its number.
        start: batches to leave out.
    """
    iterator = batches.epoch(epoch, start) if isinstance(batches, Batches) else islice(batches, start, None)
    return iterator if device.type == "cpu" else (to_device(batch, device) for batch in iterator)


def number_of(batches: Iterable[Any]) -> int | None:
    """Return how many batches an epoch has, if they know."""
    return len(batches) if isinstance(batches, Sized) else None


def as_batches(data: Any, *, every_rank: bool = False) -> Iterable[Any]:
    """Return `data` as something that yields batches: tensors and datasets are cut for evaluation, loaders kept."""
    if isinstance(data, tuple | dict | Tensor) or (isinstance(data, Dataset) and not isinstance(data, IterableDataset)):
        return Batches(data, EVALUATION_BATCH_SIZE, every_rank=every_rank)
    return cast("Iterable[Any]", data)


def _length(data: Any) -> int:
    if isinstance(data, Dataset):
        if not hasattr(data, "__len__"):
            raise InputError("data: expected a dataset with a length; give an IterableDataset in a DataLoader instead.")
        return len(data)  # pyright: ignore[reportArgumentType]  # just checked
    lengths = {len(tensor) for tensor in tensors_of(data)}
    if len(lengths) != 1:
        found = ", ".join(map(str, sorted(lengths))) or "no tensor"
        raise InputError(f"data: expected tensors with the same number of rows, found {found}.")
    return lengths.pop()
