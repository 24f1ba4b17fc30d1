"""Batches whose order is a function of (seed, epoch), so that resuming needs one integer and no saved iterator.

Data that is already in memory as tensors is cut with one index operation a batch, instead of example by example: on
small models that is most of a step's time.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from functools import partial
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate, get_worker_info

from truestep import distributed, keyed
from truestep.device import preserved_rng
from truestep.errors import InputError
from truestep.keyed import Keys
from truestep.nest import Store, flatten, leaves_of, map_tensors, take, to_device
from truestep.signals import left_to_the_parent

EVALUATION_BATCH_SIZE = 1024  # fixed, because the last bits of a row's outputs depend on the size of its batch
POOL = 50  # batches that are sorted by length together: enough for little padding, and every epoch mixes anew
EXAMPLE_STREAM = 1  # of keyed random numbers: those that an example of a dataset draws


class Batches:
    """Examples cut into batches, in an order that anyone can compute again.

    Args:
        data: a nest (tuple, dict) of tensors and `Store`s of one length, most often `(inputs, targets)`; or a map-style
            PyTorch dataset. Each of its examples is read with generators started from (seed, epoch, example), so that
            random transforms give the same with any number of workers.
        batch_size: examples a batch, over all processes together. The last batch of an epoch may be smaller.
        shuffle: a new order each epoch, drawn from (seed, epoch) by a generator of our own.
        seed: of that order, and of what is random about an example.
        device: where batches are moved to; None leaves them where the data is.
        num_workers: processes that read a dataset or a `Store`; tensors need none.
        every_rank: whether each process sees all the examples instead of its share.
        rows: the examples to use, by their indices in the data: (n,) int64. By default all.
        names: the numbers by which people know the examples of the data, for messages: (N,) int64. By default indices.
        lengths: of the examples of the data, (N,) int64: batches are made of examples that are alike in length.
        weights: how often to draw each example of the data, (N,) float; an epoch draws as many as there are.
        transform: a function of (batch, `Keys`), called on the device: augmentation, for instance.

    Raises:
        InputError: the data is empty, its parts differ in length, or it has no length at all.
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
        names: Tensor | None = None,
        lengths: Tensor | None = None,
        weights: Tensor | None = None,
        transform: Callable[[Any, Keys], Any] | None = None,
    ) -> None:
        if isinstance(data, TensorDataset):
            data = data.tensors
        if batch_size < 1:
            raise InputError(f"batch_size: expected at least 1, found {batch_size}.")
        self.data, self.batch_size, self.shuffle, self.seed = data, batch_size, shuffle, seed
        self.num_workers, self.every_rank = num_workers, every_rank
        self.device = None if device is None else torch.device(device)
        length = _length(data)
        self.rows, self.names, self.num_examples = rows, names, length if rows is None else len(rows)
        self.lengths, self.weights, self.transform = lengths, weights, transform
        self.order_sum = 0  # of the epoch that was begun last, to tell two orders apart
        self.in_memory = not isinstance(data, Dataset) and not any(isinstance(leaf, Store) for leaf in leaves_of(data))
        if self.num_examples == 0:
            raise InputError("data: expected at least one example, found none.")

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(self.num_examples / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        return self.epoch()

    def order(self, epoch: int = 0) -> Tensor:
        """Return the indices of all examples in the order of an epoch: (n,) int64."""
        rows = torch.arange(self.num_examples) if self.rows is None else self.rows
        if not self.shuffle:
            return rows
        # Our own generator: the global one would be shifted by every epoch, and every dropout mask after it. NumPy's,
        # because it mixes the two numbers; torch's takes the lowest 32 bits of one, where the seed would be lost.
        generator = np.random.default_rng([self.seed, epoch])
        if self.weights is not None:
            chances = self.weights[rows].double().numpy()
            drawn = generator.choice(self.num_examples, self.num_examples, p=chances / chances.sum())
        else:
            drawn = generator.permutation(self.num_examples)
        return rows[torch.from_numpy(drawn)]

    def indices(self, epoch: int = 0) -> Sequence[Tensor]:
        """Return the indices of each batch of an epoch, over all processes."""
        order = self.order(epoch)
        if self.lengths is None:
            return order.split(self.batch_size)
        pool = POOL * self.batch_size if self.shuffle else len(order)
        order = torch.cat([part[self.lengths[part].argsort(stable=True)] for part in order.split(pool)])
        batches = order.split(self.batch_size)
        if not self.shuffle:
            return batches
        places = np.random.default_rng([self.seed, epoch, 1]).permutation(len(batches))
        return [batches[place] for place in places]

    def name(self, epoch: int, batch: int, count: int = 1) -> str:
        """Return the numbers of the first examples in `count` batches, for a message."""
        indices = torch.cat(list(self.indices(epoch)[batch : batch + count]))
        numbers = (indices if self.names is None else self.names[indices]).tolist()
        return ", ".join(map(str, numbers[:8])) + (f", ... ({len(numbers)} in all)" if len(numbers) > 8 else "")

    def numbers(self, epoch: int, batch: int) -> list[int]:
        """Return the numbers of the examples in this process's share of a batch, in the order of its rows."""
        share = self._share(self.indices(epoch)[batch])
        return (share if self.names is None else self.names[share]).tolist()

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Any]:
        """Yield the batches of one epoch from the `start`-th on; with several processes, this one's share of each.

        Raises:
            InputError: one of the two is no whole number from 0 on.
        """
        for name, value in (("epoch", number), ("start", start)):
            if not isinstance(value, int) or value < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InputError(f"{name}: expected a whole number from 0 on, found {value!r}.")
        batches = self.indices(number)
        self.order_sum = zlib.crc32(np.concatenate([share.numpy() for share in batches]).data)
        shares = [self._share(batch) for batch in batches[start:]]
        batches = self._cut(shares) if self.in_memory else self._read(shares, number)
        return batches if self.transform is None else self._transformed(batches, shares, number)

    def _share(self, batch: Tensor) -> Tensor:
        """Return the indices of a batch that are this process's."""
        if self.every_rank or distributed.world_size() == 1:
            return batch
        return batch[distributed.rank() :: distributed.world_size()]

    def _cut(self, shares: Sequence[Tensor]) -> Iterator[Any]:
        tensors, rebuild = flatten(self.data)
        for share in shares:
            indices = share.to(tensors[0].device, non_blocking=True)
            rows = [tensor.index_select(0, indices) for tensor in tensors]
            if self.device is not None:
                rows = [tensor.to(self.device, non_blocking=True) for tensor in rows]
            yield rebuild(rows)

    def _read(self, shares: Sequence[Tensor], epoch: int) -> Iterator[Any]:
        examples = _Examples(self.data, self.seed, epoch)
        lists = [share.tolist() or [0] for share in shares]  # nobody can collate no examples: see below
        for share, batch in zip(shares, self._loaded(examples, lists), strict=True):
            rows = batch if len(share) else map_tensors(lambda tensor: tensor[:0], batch)
            yield rows if self.device is None else to_device(rows, self.device)

    def _loaded(self, examples: _Examples, lists: list[list[int]]) -> Iterator[Any]:
        if not self.num_workers:
            for indices in lists:
                with preserved_rng():
                    batch = examples.__getitems__(indices)
                yield batch
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # more than there are cores, as was asked
            loader: DataLoader[Any] = DataLoader(
                examples,
                batch_sampler=lists,
                num_workers=self.num_workers,
                collate_fn=_unchanged,
                worker_init_fn=left_to_the_parent,
                generator=torch.Generator(),  # our own: the loader would draw a seed from the global one
            )
            iterator = iter(loader)
        try:
            for batch in iterator:
                if isinstance(batch, InputError):
                    raise batch
                yield batch
        finally:
            cast("Any", iterator)._shutdown_workers()  # left to the garbage collector, each would take 5 seconds

    def _transformed(self, batches: Iterator[Any], shares: Sequence[Tensor], epoch: int) -> Iterator[Any]:
        assert self.transform is not None
        for share, batch in zip(shares, batches, strict=True):
            yield self.transform(batch, Keys(self.seed, epoch, share))


class _Examples(Dataset[Any]):
    """The examples of one epoch, read a batch at a time, each with random numbers of its own."""

    def __init__(self, data: Any, seed: int, epoch: int) -> None:
        self.data, self.seed, self.epoch = data, seed, epoch

    def __getitems__(self, indices: list[int]) -> Any:
        try:
            return self._batch(indices)
        except InputError as error:
            if get_worker_info() is None:
                raise
            return error  # raised in a worker, it would arrive with a traceback for a message

    def _batch(self, indices: list[int]) -> Any:
        if not isinstance(self.data, Dataset):
            return take(self.data, torch.tensor(indices))
        examples: list[Any] = []
        for index, key in zip(
            indices, keyed.bits(self.seed, self.epoch, np.array(indices), EXAMPLE_STREAM), strict=True
        ):
            keyed.seed_generators(int(key))
            examples.append(self.data[index])
        try:
            return default_collate(examples)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"dataset: expected examples that are alike, found others in one batch ({reason})."
            ) from error


def _unchanged(batch: Any) -> Any:
    return batch


def _start_worker(key: int, _: int) -> None:
    left_to_the_parent()
    keyed.seed_generators(key)


class StreamedBatches:
    """Batches of a dataset that is only read from its beginning, in its own order.

    An epoch is one pass, with random numbers of its own. It is begun in the middle by reading what comes before and
    passing over it, which gives the same batches if every pass gives the same examples.

    Args:
        data: yields examples; told the number of each epoch if it has a method `set_epoch`.
        batch_size: examples a batch; the last one of a pass may be smaller.
        seed: of what is random about a pass.
        device: where batches are moved to; None leaves them where they are.
        num_workers: 0 or 1 process that reads.
    """

    def __init__(
        self,
        data: IterableDataset[Any],
        batch_size: int,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        num_workers: int = 0,
    ) -> None:
        self.data, self.batch_size, self.seed, self.device, self.num_workers = (
            data,
            batch_size,
            seed,
            device,
            num_workers,
        )

    def __iter__(self) -> Iterator[Any]:
        return self.epoch()

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Any]:
        """Yield the batches of one pass from the `start`-th on."""
        if hasattr(self.data, "set_epoch"):
            cast("Any", self.data).set_epoch(number)
        key = int(keyed.bits(self.seed, number, np.zeros(1), EXAMPLE_STREAM)[0])
        loader: DataLoader[Any] = DataLoader(
            self.data,
            self.batch_size,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # our own, as above
            worker_init_fn=partial(_start_worker, key) if self.num_workers else None,
        )
        drawn = keyed.Generators(key)
        iterator: Iterator[Any] | None = None
        place = 0
        while True:
            with preserved_rng(), drawn:  # the pass draws from its own generators, and leaves those of dropout alone
                iterator = iter(loader) if iterator is None else iterator
                batch = next(iterator, None)
            if batch is None:
                return
            if place >= start:
                yield batch if self.device is None else to_device(batch, self.device)
            place += 1


def batches_on(device: torch.device, batches: Iterable[Any], epoch: int = 0, start: int = 0) -> Generator[Any]:
    """Yield the batches of one epoch from the `start`-th on, on a device. Whoever stops early closes it: workers end.

    Args:
        device: of the model.
        batches: `Batches`, or any other iterable of batches, which knows no epochs: it is begun anew each time.
        epoch: its number.
        start: batches to leave out.
    """
    knows_epochs = isinstance(batches, Batches | StreamedBatches)
    iterator = batches.epoch(epoch, start) if knows_epochs else islice(batches, start, None)
    yield from iterator if device.type == "cpu" else (to_device(batch, device) for batch in iterator)


def accumulated(
    batches: Iterable[Any], accumulate: int, count: Callable[[Any], float | Tensor] = len
) -> Iterator[tuple[list[Any], float | Tensor]]:
    """Yield for each update its batches, and how much they count for together: what to divide their loss sums by.

    Sums divided by this give the gradient of one batch that holds all of them, also where batches differ in size. With
    several processes it is the share of each, whose gradients are averaged.

    Args:
        batches: pairs (inputs, targets).
        accumulate: batches an update; the last one may have fewer.
        count: what a batch's targets count for: their examples, or `objective.count`, which knows of padding and weights.

    Raises:
        InputError: fewer than one batch an update.
    """
    if accumulate < 1:
        raise InputError(f"accumulate: expected at least 1 batch, found {accumulate}.")
    batches, parallel = iter(batches), distributed.world_size() > 1
    while group := list(islice(batches, accumulate)):
        total = sum(count(targets) for _, targets in group)
        yield group, distributed.share(total) if parallel else total


def number_of(batches: Iterable[Any]) -> int | None:
    """Return how many batches an epoch has, if they know."""
    return len(batches) if isinstance(batches, Sized) else None


def as_batches(data: Any, *, every_rank: bool = False) -> Iterable[Any]:
    """Return `data` as something that yields batches: tensors and datasets are cut for evaluation, loaders kept."""
    if isinstance(data, tuple | dict | Tensor | Store) or (
        isinstance(data, Dataset) and not isinstance(data, IterableDataset)
    ):
        return Batches(data, EVALUATION_BATCH_SIZE, every_rank=every_rank)
    return cast("Iterable[Any]", data)


def _length(data: Any) -> int:
    if isinstance(data, Dataset):
        if not hasattr(data, "__len__"):
            raise InputError("data: expected a dataset with a length; give an IterableDataset in a DataLoader instead.")
        return len(data)  # pyright: ignore[reportArgumentType]  # just checked
    lengths = {len(leaf) for leaf in leaves_of(data)}
    if len(lengths) != 1:
        found = ", ".join(map(str, sorted(lengths))) or "no tensor"
        raise InputError(f"data: expected tensors with the same number of rows, found {found}.")
    return lengths.pop()
