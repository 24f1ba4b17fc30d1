"""Sees data loaders: what they give, in which order, how often, and whether training and evaluation share examples."""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset
from torch.utils.data import dataloader as dataloaders

from truestep.doctor import sites
from truestep.doctor.probes import tensors_in
from truestep.doctor.record import LoaderFacts, PassFacts

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

EXAMPLES = 20_000  # whose content is remembered, of each loader
COLUMNS = 64  # of an example that are looked at
FIRST = 8  # batches of a pass whose content is remembered


class Seen:
    """What is going on with one loader."""

    def __init__(self, loader: DataLoader[Any], facts: LoaderFacts) -> None:
        self.loader, self.facts = weakref.ref(loader), facts
        self.keys: set[int] = set()
        self.examples = 0
        self.labels: list[int] = []
        self.indices: set[int] | None = None


class Loaders:
    """The sensor of data loaders."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seen: dict[int, Seen] = {}
        self.iterators: weakref.WeakKeyDictionary[Any, Seen] = weakref.WeakKeyDictionary()
        self.datasets: dict[int, int] = {}
        self.current = -1

    def install(self) -> None:
        watch = self.watch
        watch.wrap(DataLoader, "__init__", after=self._made)
        watch.wrap(DataLoader, "__iter__", after=self._begun)
        original, sensor = dataloaders._BaseDataLoaderIter.__next__, self

        def __next__(iterator: Any) -> Any:
            try:
                batch = original(iterator)
            except StopIteration:
                if watch.watching():
                    watch.guarded(sensor.ended, iterator)
                raise
            if watch.watching():
                watch.guarded(sensor.gave, iterator, batch)
            return batch

        watch._replace(dataloaders._BaseDataLoaderIter, "__next__", lambda _: __next__)

    def of(self, loader: DataLoader[Any]) -> Seen:
        found = self.seen.get(id(loader))
        if found is None or found.loader() is not loader:
            facts = LoaderFacts(len(self.watch.record.loaders), None)
            self.watch.record.loaders.append(facts)
            found = self.seen[id(loader)] = Seen(loader, facts)
        return found

    def _made(self, _: Any, __: Any, loader: DataLoader[Any], *___: Any, **____: Any) -> None:
        self.of(loader).facts.site = sites.here()

    def _describe(self, seen: Seen, loader: DataLoader[Any]) -> None:
        facts, dataset = seen.facts, loader.dataset
        facts.batch_size, facts.workers, facts.drop_last = loader.batch_size, loader.num_workers, loader.drop_last
        facts.iterable = isinstance(dataset, IterableDataset)
        batch_sampler = loader.batch_sampler
        sampler = getattr(batch_sampler, "sampler", None) or loader.sampler
        facts.sampler = type(sampler).__name__ if not facts.iterable else ""
        standard = type(batch_sampler).__module__.startswith("torch")
        if batch_sampler is not None and not standard:
            facts.sampler = type(batch_sampler).__name__
        if not facts.iterable and hasattr(dataset, "__len__"):
            facts.examples = len(dataset)  # pyright: ignore[reportArgumentType]
        for name in ("epoch", "shuffle", "num_samples", "num_replicas"):
            value = getattr(sampler, name, None)
            if isinstance(value, int):
                facts.sampler_facts[name] = value
        weights = getattr(sampler, "weights", None)
        if isinstance(weights, Tensor):
            facts.sampler_facts["weights"] = len(weights)
        if isinstance(sampler, torch.utils.data.SubsetRandomSampler):
            seen.indices = set(map(int, sampler.indices))
        base: Any = dataset
        indices: list[int] | None = None
        while isinstance(base, Subset):
            indices = [int(base.indices[i]) for i in indices] if indices is not None else list(map(int, base.indices))
            base = base.dataset
        if indices is not None:
            seen.indices = set(indices)
        elif seen.indices is None and facts.examples is not None:
            seen.indices = set(range(facts.examples)) if facts.examples <= 5_000_000 else None
        facts.dataset = self.datasets.setdefault(id(base), len(self.datasets))
        facts.dataset_kind = type(base).__name__

    def _begun(self, _: Any, iterator: Any, loader: DataLoader[Any]) -> None:
        seen = self.of(loader)
        if not seen.facts.passes:
            self._describe(seen, loader)
        if "epoch" in seen.facts.sampler_facts:
            sampler = getattr(loader.batch_sampler, "sampler", None) or loader.sampler
            seen.facts.sampler_facts.setdefault("epochs", []).append(int(getattr(sampler, "epoch", 0)))
        self.iterators[iterator] = seen
        if len(seen.facts.passes) < 500:
            seen.facts.passes.append(
                PassFacts(seen.facts.number, len(seen.facts.passes), first_step=self.watch.record.steps)
            )

    def gave(self, iterator: Any, batch: Any) -> None:
        seen = self.iterators.get(iterator)
        if seen is None:
            return
        facts, one = seen.facts, seen.facts.passes[-1]
        self.current = facts.number
        self.watch.event("batch", facts.number)
        tensors = tensors_in(batch)
        one.batches += 1
        if not tensors or not tensors[0].ndim:
            return
        size = tensors[0].shape[0]
        one.examples += size
        inputs = max((t for t in tensors if t.ndim and t.shape[0] == size), key=lambda t: t.numel())
        if one.number < 4 and one.batches <= FIRST:
            one.fingerprints.append(fingerprint(inputs))
        if one.number == 0:
            if one.batches == 1:
                facts.inputs = statistics(inputs)
            if seen.examples < EXAMPLES:
                seen.examples += size
                seen.keys.update(keys_of(inputs))
                labels = next((t for t in tensors if t is not inputs and t.ndim == 1 and not t.is_floating_point()), None)
                if labels is not None and len(labels) == size:
                    seen.labels.extend(labels.tolist())

    def ended(self, iterator: Any) -> None:
        seen = self.iterators.get(iterator)
        if seen is None or not seen.facts.passes:
            return
        one = seen.facts.passes[-1]
        one.complete = True
        if self.current == seen.facts.number:
            self.current = -1
        if one.number == 0 and seen.labels:
            labels = seen.labels
            changes = sum(a != b for a, b in zip(labels, labels[1:], strict=False))
            seen.facts.labels = {"examples": len(labels), "classes": len(set(labels)), "changes": changes}

    def backward(self) -> None:
        for seen in self.seen.values():
            if seen.facts.number == self.current and seen.facts.passes:
                seen.facts.passes[-1].backwards += 1

    def stepped(self) -> None:
        for seen in self.seen.values():
            if seen.facts.number == self.current and seen.facts.passes:
                seen.facts.passes[-1].steps += 1

    def conclude(self) -> None:
        """Compare loaders with each other."""
        all_seen = list(self.seen.values())
        for one in all_seen:
            for other in all_seen:
                if one is other or not one.facts.passes or not other.facts.passes:
                    continue
                shared = len(one.keys & other.keys)
                one.facts.sharing[other.facts.number] = shared
                same = one.facts.dataset == other.facts.dataset and one.indices and other.indices
                if same:
                    one.facts.indices[str(other.facts.number)] = len(one.indices & other.indices)  # pyright: ignore[reportOptionalOperand]
            one.facts.indices["count"] = len(one.indices or ())
            one.facts.indices["distinct"] = len(one.keys)
            one.facts.indices["read"] = min(one.examples, EXAMPLES + 10_000)


def sampled(values: Tensor) -> Tensor:
    """Return at most `COLUMNS` numbers of each example: (N, C)."""
    flat = values.detach().reshape(values.shape[0], -1)
    if flat.shape[1] > COLUMNS:
        flat = flat[:, torch.linspace(0, flat.shape[1] - 1, COLUMNS).long().to(flat.device)]
    return flat.cpu().contiguous()


def keys_of(values: Tensor) -> list[int]:
    """Return a number for the content of each example."""
    flat = sampled(values)
    if flat.dtype == torch.bfloat16:
        flat = flat.float()
    return [hash(row.tobytes()) for row in flat.numpy()]


def fingerprint(values: Tensor) -> str:
    """Return a short text that stands for the content of a batch."""
    flat = sampled(values)
    if flat.dtype == torch.bfloat16:
        flat = flat.float()
    return hashlib.sha1(flat.numpy().tobytes(), usedforsecurity=False).hexdigest()[:12]


def statistics(values: Tensor) -> dict[str, Any]:
    """Return mean, deviation and range of a batch."""
    facts: dict[str, Any] = {"shape": tuple(values.shape), "dtype": str(values.dtype).removeprefix("torch.")}
    if values.numel() and values.dtype != torch.bool and not values.is_complex():
        numbers = values.detach().float()
        deviation = float(numbers.std()) if numbers.numel() > 1 else 0.0
        facts |= {"mean": float(numbers.mean()), "std": deviation, "min": float(numbers.min()), "max": float(numbers.max())}
    return facts
