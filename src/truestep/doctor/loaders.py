"""Sees the data: what loaders give in which order, what models are given, and which examples both halves of a run share."""

from __future__ import annotations

import copy
import hashlib
import inspect
import random
import sys
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data import dataloader as dataloaders

from truestep.doctor import sites
from truestep.doctor.collectives import processes
from truestep.doctor.probes import _aside, tensors_in
from truestep.doctor.record import (
    CallFacts,
    InputFacts,
    LoaderFacts,
    ModelFacts,
    PassFacts,
    SamplerFacts,
    SeedFacts,
    Site,
    TableFacts,
)

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch

EXAMPLES = 20_000  # whose content is remembered, of each loader or manner of calling a model
ROWS = 10_000  # of a table that are kept
COLUMNS = 64  # of an example that are looked at
SERIES = 8  # columns of a window that are looked at
WHOLE = 1024  # numbers of an example that are all looked at
PASSES = 4  # of a loader whose first batches are remembered
FIRST = 8  # batches of those
STATISTICS = 4  # batches whose mean and deviation are taken
KEPT = 64  # loaders and manners of calling that are followed
UNSAFE = (
    "open(",
    "print(",
    "append(",
    "cache",
    "requests",
    "sqlite",
    "h5py",
    ".load(",
    "global ",
    "write",
    "log",
)  # in a dataset's code
AUGMENTATIONS = ("flip", "crop", "jitter", "augment", "rotat", "cutout", "erasing", "affine")
LARGEST = 5_000_000  # indices that are remembered


class Seen:
    """What is going on with one loader."""

    def __init__(self, loader: DataLoader[Any], facts: LoaderFacts) -> None:
        self.loader, self.facts = weakref.ref(loader), facts
        self.keys: set[int] = set()
        self.labels: list[int] = []
        self.indices: set[int] | None = None
        self.base: weakref.ref[Any] | None = None
        self.like: set[int] = set()  # loaders that read the same examples under the same indices


class Given:
    """What is remembered of the inputs of a model."""

    def __init__(self, facts: InputFacts) -> None:
        self.facts = facts
        self.keys: list[Tensor] = []  # on the device of the inputs, so that nothing waits for it
        self.sums: list[tuple[Tensor, Tensor]] = []

        self.rows: list[Tensor] = []  # of tables, as they were given
        self.first = 0  # batches of them that came in the first pass
        self.since = 0  # pass of the loader in which it was given first
        self.full = False

    def content(self) -> set[int]:
        return {key for keys in self.keys for key in keys.tolist()}

    def first_rows(self) -> Tensor:
        """Return the rows of the first pass, those that are there twice among them."""
        return torch.cat(self.rows[: max(self.first, 1)])


class Loaders:
    """The sensor of data."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seen: dict[int, Seen] = {}
        self.followed: list[Seen] = []
        self.iterators: weakref.WeakKeyDictionary[Any, Seen] = weakref.WeakKeyDictionary()
        self.datasets: dict[int, tuple[Any, int]] = {}
        self.numbers = -1
        self.made: dict[int, tuple[weakref.ref[Any], Site | None]] = {}  # of Subsets, by id
        self.given: dict[tuple[int, int], Given] = {}
        self.samplers: weakref.WeakKeyDictionary[Any, SamplerFacts] = weakref.WeakKeyDictionary()
        self.current = -1

    def install(self) -> None:
        watch = self.watch
        watch.wrap(DataLoader, "__init__", after=self._made)
        watch.wrap(DataLoader, "__iter__", after=self._begun)
        watch.wrap(Subset, "__init__", after=self._made_subset)
        watch.wrap(WeightedRandomSampler, "__init__", after=self._made_sampler)
        watch.wrap(torch, "manual_seed", before=self._seeding)
        seeding = torch.manual_seed
        watch._replace(torch.random, "manual_seed", lambda _: seeding)  # one function under both names, as it was
        original, sensor = dataloaders._BaseDataLoaderIter.__next__, self

        def following(iterator: Any) -> Any:
            try:
                batch = original(iterator)
            except StopIteration:
                if watch.watching():
                    watch.guarded(sensor.ended, iterator)
                raise
            if watch.watching():
                watch.guarded(sensor.gave, iterator, batch)
            return batch

        watch._replace(dataloaders._BaseDataLoaderIter, "__next__", lambda _: following)

    # How loaders are made.

    def of(self, loader: DataLoader[Any]) -> Seen:
        found = self.seen.get(id(loader))
        if found is None or found.loader() is not loader:
            facts = LoaderFacts(len(self.watch.record.loaders), None)
            found = self.seen[id(loader)] = Seen(loader, facts)
            self.watch.record.loaders.append(facts)
            if len(self.followed) < KEPT:
                self.followed.append(found)
        return found

    def _made(self, _: Any, __: Any, loader: DataLoader[Any], *___: Any, **____: Any) -> None:
        facts = self.of(loader).facts
        facts.stack = sites.stack(4)
        facts.site = facts.stack[0] if facts.stack else None

    def _made_subset(self, _: Any, __: Any, subset: Subset[Any], *___: Any, **____: Any) -> None:
        if len(self.made) < 1_000:
            self.made[id(subset)] = (weakref.ref(subset), sites.here())

    def _made_sampler(self, _: Any, __: Any, sampler: WeightedRandomSampler, *___: Any, **____: Any) -> None:
        if len(self.watch.record.samplers) < KEPT:
            facts = self.samplers[sampler] = SamplerFacts(sites.here(), len(sampler.weights))
            self.watch.record.samplers.append(facts)

    def _seeding(self, seed: Any = None, *_: Any, **__: Any) -> None:
        if len(self.watch.record.seeds) < KEPT and isinstance(seed, int):
            self.watch.record.seeds.append(SeedFacts(sites.stack(), seed, self.watch.record.steps))

    def _after_seed(self, seed: SeedFacts, model: ModelFacts, inputs: list[Tensor]) -> None:
        """Remember the first batches that a model learns from after a seed."""
        if not seed.given:
            seed.model, seed.loader, seed.call = model.number, self.current, sites.stack()
        given = next((t for t in inputs if t.ndim and t.layout is torch.strided and t.numel()), None)
        if model.number == seed.model and given is not None and given.device.type == "cpu" and type(given) is Tensor:
            seed.given.append(fingerprint(given))

    def _describe(self, seen: Seen, loader: DataLoader[Any]) -> None:
        facts, dataset = seen.facts, loader.dataset
        facts.used = sites.stack(4)
        facts.batch_size, facts.workers, facts.drop_last = loader.batch_size, loader.num_workers, loader.drop_last
        facts.iterable = isinstance(dataset, IterableDataset)
        batch_sampler = loader.batch_sampler
        sampler = getattr(batch_sampler, "sampler", None) or loader.sampler
        facts.sampler = type(sampler).__name__ if not facts.iterable else ""
        if batch_sampler is not None and not type(batch_sampler).__module__.startswith("torch"):
            facts.sampler = type(batch_sampler).__name__
        facts.with_replacement = not isinstance(
            sampler, torch.utils.data.SequentialSampler | SubsetRandomSampler
        ) and not (isinstance(sampler, RandomSampler) and not sampler.replacement)
        if not facts.iterable and hasattr(dataset, "__len__"):
            facts.examples = len(dataset)  # pyright: ignore[reportArgumentType]
        for name in ("epoch", "shuffle", "num_samples", "num_replicas"):
            value = getattr(sampler, name, None)
            if isinstance(value, int):
                facts.sampler_facts[name] = value
        facts.processes = processes()
        if sampler in self.samplers:
            self.samplers[sampler].loader = facts.number
        base, indices = innermost(dataset)
        if isinstance(dataset, Subset):
            facts.subset = True
            reference, site = self.made.get(id(dataset), (lambda: None, None))
            facts.dataset_site = site if reference() is dataset else None
        if isinstance(sampler, SubsetRandomSampler) and indices is None:
            indices = [int(index) for index in sampler.indices]
        if indices is None and facts.examples is not None and facts.examples <= LARGEST:
            indices = range(facts.examples)
        seen.indices = set(indices) if indices is not None else None
        facts.own_indices = len(seen.indices or ())
        facts.dataset = self._number(base)
        facts.dataset_kind = type(base).__name__
        if not facts.iterable and hasattr(base, "__len__"):
            facts.holds_rows = any(_is_row_of(value, 0, len(base)) for value in _attributes(base).values())
        with suppress(TypeError):
            seen.base = weakref.ref(base)
        for other in self.followed:
            if other is not seen and other.facts.passes and self._same_source(seen, other):
                seen.like.add(other.facts.number)
                other.like.add(facts.number)
        if facts.workers > 1 and not facts.iterable:
            facts.same_randomness = self._randomness(loader)

    def _number(self, dataset: Any) -> int:
        reference, number = self.datasets.get(id(dataset), (lambda: None, -1))
        if reference() is not dataset:  # another one that lies where one lay that is gone
            self.numbers += 1
            number = self.numbers
            with suppress(TypeError):  # a list, for one
                self.datasets[id(dataset)] = (weakref.ref(dataset), number)
        return number

    # How they are read.

    def _begun(self, _: Any, iterator: Any, loader: DataLoader[Any]) -> None:
        seen = self.of(loader)
        facts = seen.facts
        if not facts.passes:
            self._describe(seen, loader)
        if "epoch" in facts.sampler_facts and len(facts.passes) < 500:
            sampler = getattr(loader.batch_sampler, "sampler", None) or loader.sampler
            facts.sampler_facts.setdefault("epochs", []).append(int(getattr(sampler, "epoch", 0)))
        self.iterators[iterator] = seen
        if len(facts.passes) < 500:
            facts.passes.append(PassFacts(facts.number, len(facts.passes), first_step=self.watch.record.steps))

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
        one.smallest = min(one.smallest or size, size)
        if one.number >= PASSES or (one.batches > FIRST and (one.number or facts.read >= EXAMPLES)):
            return
        inputs = max((t for t in tensors if t.ndim and t.shape[0] == size), key=lambda t: t.numel())
        if one.batches <= (max(FIRST, 3 * facts.workers) if inputs.device.type == "cpu" else 1):
            one.fingerprints.append(fingerprint(inputs))
        if one.number == 0 and inputs.device.type == "cpu":
            facts.read += size
            if facts.iterable:
                seen.keys.update(keys_of(inputs).tolist())
            labels = next(
                (found for t in tensors if t is not inputs and (found := classes_of(t, size)) is not None), None
            )
            if labels is not None:
                seen.labels.extend(labels)

    def ended(self, iterator: Any) -> None:
        seen = self.iterators.get(iterator)
        if seen is None or not seen.facts.passes:
            return
        facts, one = seen.facts, seen.facts.passes[-1]
        one.complete = True
        if self.current == facts.number:
            self.current = -1
        if one.number == 0:
            facts.distinct = len(seen.keys)
            if facts.workers == 0 and not facts.iterable and one.examples >= 2:
                facts.changed_by_reading = changed_by_reading(iterator._dataset)
            if not facts.iterable and not one.backwards and facts.examples:
                facts.differs_by_reading, facts.augmented = read_twice(iterator._dataset)

    def _reading(self) -> PassFacts | None:
        """Return the pass that is going on."""
        if self.current < 0:
            return None
        facts = self.watch.record.loaders[self.current]
        return facts.passes[-1] if facts.passes else None

    def backward(self) -> None:
        one = self._reading()
        if one is not None:
            one.backwards += 1

    def stepped(self) -> None:
        one = self._reading()
        if one is not None:
            one.steps += 1

    def scheduled(self, schedule: int) -> None:
        one = self._reading()
        if one is not None:
            one.schedules[schedule] += 1

    # What models are given.

    def called(self, model: ModelFacts, call: CallFacts, inputs: list[Tensor]) -> None:
        """Remember what a model was given. Nothing here waits for a device."""
        if call.gradients and (one := self._reading()) is not None and one.model < 0:
            one.model = model.number
        seeds = self.watch.record.seeds
        if call.gradients and seeds and len(seeds[-1].given) < 2:
            self._after_seed(seeds[-1], model, inputs)
        given = self.given.get((id(call), self.current))
        if given is None:
            if len(self.given) >= KEPT or not inputs:
                return
            facts = InputFacts(model.number, call, self.current, sites.stack(4), self.watch.record.steps)
            given = self.given[id(call), self.current] = Given(facts)
            one = self._reading()
            given.since = one.number if one is not None else 0
            self.watch.record.inputs.append(facts)
        facts = given.facts
        if given.full:
            return
        given.full = facts.read >= EXAMPLES or len(given.keys) > 2_000 or self._is_read_out(given)
        if given.full:
            return
        tensors = [
            t for t in inputs if t.ndim >= 2 and t.dtype != torch.bool and not t.is_complex() and not t.is_sparse
        ]
        if not tensors:
            given.full = True
            return
        values = max(tensors, key=lambda t: t.numel()).detach()
        if values.is_cuda and torch.cuda.is_current_stream_capturing():
            return  # whatever is done now would be done again with each replay
        if values.numel() == 0 or type(values) not in (Tensor, nn.Parameter):
            return
        if not given.keys:
            facts.shape, facts.floating = tuple(values.shape), values.is_floating_point()
            facts.computed = any(one.requires_grad for one in tensors)
            facts.columns = values[0].numel()
        given.keys.append(keys_of(values))
        facts.read += len(values)
        if len(given.sums) < STATISTICS and facts.floating:
            numbers = sampled(values).double()
            given.sums.append((numbers.mean(0), numbers.pow(2).mean(0)))
        table = values.ndim == 2 and 2 <= values.shape[1] <= COLUMNS
        if facts.floating and (table or is_series(values)) and facts.read <= ROWS:
            kept_all = len(given.rows) == len(given.keys) - 1
            one = self._reading()
            given.first += one is not None and one.number == 0
            given.rows.extend([values.clone()] if kept_all and values.device.type == "cpu" else [])
        if len(given.keys) == 1 and values.numel() <= 10_000_000:
            _look_closely(facts, values)
            if max(abs(facts.low), abs(facts.high)) > 50:
                known = next((one for one in self.watch.calls.known.values() if one.facts is model), None)
                facts.rescaled = known is None or rescales(known.module())

    def entered(self, call: CallFacts, inputs: Tensor, first: Tensor) -> None:
        """Note whether a model divides inputs by 255 that lie between -1 and 1 already."""
        given = self.given.get((id(call), self.current))
        if given is None or not inputs.is_floating_point() or inputs.numel() != first.numel() or not inputs.numel():
            return
        low, high = float(inputs.detach().min()), float(inputs.detach().max())
        divided = float(first.min()), float(first.max())
        near = all(abs(255 * b - a) <= 1e-4 * high for a, b in zip((low, high), divided, strict=True))
        whole = bool((inputs == inputs.round()).all())
        if near and not whole and -1.0001 <= low < high <= 1.0001:
            given.facts.within = (*divided, sites.here())

    def _is_read_out(self, given: Given) -> bool:
        """Whether a later pass over the loader has begun, after a whole one: it gives the same examples."""
        one = self._reading()
        if one is None or one.number <= given.since:
            return False
        facts = self.watch.record.loaders[given.facts.loader]
        first = facts.passes[given.since]
        whole = given.facts.read >= first.examples >= (0 if first.complete else facts.examples or first.examples + 1)
        return whole and not facts.with_replacement and not facts.iterable

    # What workers would draw.

    def _randomness(self, loader: DataLoader[Any]) -> str:
        """Return the name of a generator that the dataset owns and draws from: each worker gets a copy in the same state."""
        base, _ = innermost(loader.dataset)
        code = source_of(type(base)) + source_of(loader.worker_init_fn)
        if (
            "worker_info" in code
            or not safe_to_read(code)
            or loader.worker_init_fn is not None
            or "__getitem__" not in vars(type(base))
        ):
            return ""
        for name, value in list(_attributes(base).items()):
            if generator_state(value) is None:
                continue
            with _aside(), suppress(Exception):
                twin = copy.copy(base)
                own = copy.deepcopy(value) if not isinstance(value, torch.Generator) else _same_generator(value)
                setattr(twin, name, own)
                before = generator_state(own)
                twin[0]
                if generator_state(getattr(twin, name)) != before:
                    return name
        return ""

    def conclude(self) -> None:
        """Compare loaders with each other, and what models were given in training and in evaluation."""
        used = [seen for seen in self.followed if seen.facts.passes]
        for one in used:
            facts = one.facts
            if facts.passes[0].complete and one.labels:
                changes = sum(a != b for a, b in zip(one.labels, one.labels[1:], strict=False))
                facts.labels = {"examples": len(one.labels), "classes": len(set(one.labels)), "changes": changes}
            for other in used:
                if other.facts.number in one.like and one.indices and other.indices:
                    facts.shared_indices[other.facts.number] = len(one.indices & other.indices)
        contents = [given.content() for given in self.given.values()]
        for place, (given, keys) in enumerate(zip(self.given.values(), contents, strict=True)):
            facts = given.facts
            facts.distinct = len(keys)
            facts.repeated = sum(len(batch) - len(set(batch.tolist())) for batch in given.keys)
            for other, others in enumerate(contents):
                if other != place:
                    facts.shared[other] = len(keys & others)
            if given.sums and len({mean.shape for mean, _ in given.sums}) == 1:
                mean = torch.stack([mean.cpu() for mean, _ in given.sums]).mean(0)
                square = torch.stack([square.cpu() for _, square in given.sums]).mean(0)
                facts.means, facts.deviations = mean.tolist(), (square - mean**2).clamp(min=0).sqrt().tolist()
        self._tables()

    def _tables(self) -> None:
        for model in {given.facts.model for given in self.given.values()}:
            mine = [given for given in self.given.values() if given.rows and given.facts.model == model]
            trained = [given for given in mine if given.facts.call.trained]
            evaluated = [given for given in mine if not given.facts.call.trained]
            if not trained or not evaluated or len({row.shape[1:] for given in mine for row in given.rows}) != 1:
                continue
            found: list[TableFacts] = []
            passes = (
                torch.cat([given.first_rows() for given in trained]),
                torch.cat([given.first_rows() for given in evaluated]),
            )
            whole = all(given.first for given in trained)  # else one batch, and others of training among the rest
            for (rows, others), all_rows in ((passes, whole), (_different(trained, evaluated), True)):
                count = len(rows)
                if count < 10 or not len(others):
                    continue
                if rows.ndim == 3:
                    steps, later = rows.flatten(0, 1), others.flatten(0, 1)
                    facts = TableFacts(model, steps.shape[1], len(steps), len(later), series=True)
                    facts.ranged = 0, spanned(steps, later) if all_rows else 0
                    found.append(facts)
                    continue
                facts = TableFacts(model, rows.shape[1], count, len(others))
                for column in range(rows.shape[1]):  # one at a time, to need little memory
                    both = torch.cat([rows[:, [column]], others[:, [column]]]).double()
                    own = centred(both[:count])
                    facts.centred = _added(facts.centred, own, centred(both))
                    facts.apart += own and centred(both[count:])
                    if all_rows:
                        facts.ranged = _added(facts.ranged, ranged(both[:count]), ranged(both))
                found.append(facts)
            if not found:
                continue
            facts = max(
                found, key=lambda one: max(one.centred[1] - one.centred[0], one.ranged[1] - one.ranged[0], one.apart)
            )
            self.watch.record.tables.append(facts)

    @staticmethod
    def _same_source(one: Seen, other: Seen) -> bool:
        """Whether two loaders read one dataset, or two that hold the same examples in the same order."""
        if one.facts.dataset == other.facts.dataset:
            return True
        first = one.base() if one.base else None
        second = other.base() if other.base else None
        if first is None or second is None or type(first) is not type(second):
            return False
        with suppress(Exception):
            count = len(first)
            if hasattr(first, "__dict__") and hasattr(second, "__dict__"):
                return count == len(second) and count > 1 and _hold_the_same(vars(first), vars(second), count)
        return False


def _added(counts: tuple[int, int], one: int, other: int) -> tuple[int, int]:
    return counts[0] + one, counts[1] + other


def _different(trained: list[Given], evaluated: list[Given]) -> tuple[Tensor, Tensor]:
    """Return the different rows that were trained on, and the others."""

    def placed(given: list[Given]) -> tuple[dict[int, int], Tensor]:
        keys = torch.cat([key for one in given for key in one.keys[: len(one.rows)]]).tolist()
        return {key: place for place, key in enumerate(keys)}, torch.cat([row for one in given for row in one.rows])

    (seen, rows), (found, others) = placed(trained), placed(evaluated)
    return rows[[*seen.values()]], others[[place for key, place in found.items() if key not in seen]]


def innermost(dataset: Any) -> tuple[Any, Any]:
    """Return the dataset inside of Subsets, and the indices into it that are read; None stands for all."""
    indices: list[int] | None = None
    while isinstance(dataset, Subset):
        own = dataset.indices
        indices = [int(own[i]) for i in indices] if indices is not None else [int(i) for i in own]
        dataset = dataset.dataset
    return dataset, indices


def _hold_the_same(one: dict[str, Any], other: dict[str, Any], count: int) -> bool:
    numpy = sys.modules.get("numpy")
    for name, value in one.items():
        theirs = other.get(name)
        if (
            type(theirs) is not type(value)
            or not hasattr(value, "__len__")
            or len(value) != count
            or isinstance(value, dict)
        ):
            continue
        if value is theirs:
            return True
        if isinstance(value, Tensor) and isinstance(theirs, Tensor):
            if value.ndim >= 2 and torch.equal(value, theirs):
                return True
        elif numpy is not None and isinstance(value, numpy.ndarray):
            if value.ndim >= 2 and numpy.array_equal(value, theirs):
                return True
        elif (
            isinstance(value, list)
            and isinstance(value[0], str | tuple)
            and len(set(value)) == count
            and value == theirs
        ):
            return True  # names of files
    return False


def sampled(values: Tensor) -> Tensor:
    """Return at most 2 * `COLUMNS` numbers of each example: (N, C), on their device."""
    flat = values.detach().reshape(values.shape[0], -1)
    return flat[:, :: max(1, flat.shape[1] // COLUMNS)]


def keys_of(values: Tensor) -> Tensor:
    """Return a number for the content of each example: (N,), on the device of the values.

    Of an example of many numbers, such as a photograph, only some are looked at.
    """
    flat = values.detach().reshape(values.shape[0], -1)
    if flat.shape[1] > WHOLE:
        flat = sampled(values)
    if flat.dtype == torch.float64:
        flat = flat.float()
    if flat.is_floating_point():
        flat = (flat.float() + 0.0).contiguous().view(torch.int32)  # + 0.0: there is but one zero
    bits = flat.to(torch.int64)
    bits = (bits ^ (bits >> 15)) * -7046029254386353131  # spread each number over 64 bits
    bits = bits ^ (bits >> 29)
    factors = torch.arange(1, bits.shape[1] + 1, device=bits.device) * 7919 + 104729
    return (bits * factors * factors).sum(1)


def fingerprint(values: Tensor) -> str:
    """Return a short text that stands for the content of a batch."""
    return hashlib.sha1(keys_of(values).cpu().numpy().tobytes(), usedforsecurity=False).hexdigest()[:12]


def classes_of(values: Tensor, size: int) -> list[int] | None:
    """Return a batch's labels, if the tensor looks like labels: whole numbers, one for each example."""
    if values.ndim == 0 or values.ndim > 2 or values.shape[0] != size or values.numel() != size or values.is_complex():
        return None
    values = values.detach().flatten()
    if values.is_floating_point() and not bool((values == values.round()).all()):
        return None
    return values.long().tolist()


def _look_closely(facts: InputFacts, values: Tensor) -> None:
    if values.device.type != "cpu":
        return  # it would have to wait
    ordered = sampled(values[:64]).float().sort(1).values
    facts.richness = int((ordered.diff(dim=1) != 0).sum(1).median()) + 1
    if not facts.floating:
        return
    facts.low, facts.high = float(values.min()), float(values.max())
    different = sampled(values[:64]).unique(dim=0)
    if len(different) >= 16:
        counts = sorted(len(column.unique()) for column in different.T)
        facts.fine = counts[len(counts) // 2] >= 0.95 * len(different)
    numbers = sampled(values).double()
    facts.whole = bool((numbers == numbers.round()).all())
    twice = numbers * 255 * 255
    facts.whole_by_255 = (
        facts.low >= 0 and 0 < facts.high <= 1 / 250 and bool(((twice - twice.round()).abs() < 1e-2).all())
    )


def rescales(module: nn.Module | None) -> bool:
    """Whether a model brings its inputs to a scale of its own."""
    if module is None:
        return True
    first = next((part for part in module.modules() if next(part.children(), None) is None), None)
    if isinstance(first, nn.Embedding) or "Norm" in type(first).__name__:
        return True
    kinds = {type(part) for part in module.modules() if not type(part).__module__.startswith("torch")}
    return any(
        word in source_of(kind) for kind in kinds for word in ("255", "127.5", "mean", "std", "norm", "scale", "log")
    )


def centred(rows: Tensor) -> int:
    """Return how many columns have a mean of 0 and a deviation of 1, but for rounding."""
    count, deviations = len(rows), rows.std(0, correction=0)
    means = (rows.mean(0).abs() < 2e-6) & (deviations > 1e-12)
    return int(
        (means & (((deviations - 1).abs() < 1e-5) | ((deviations - ((count - 1) / count) ** 0.5).abs() < 1e-5))).sum()
    )


def ranged(rows: Tensor) -> int:
    """Return how many columns go exactly from 0 to 1 or from -1 to 1, and are no flags."""
    low, high = rows.min(0).values, rows.max(0).values
    whole = ((low.abs() < 1e-6) | ((low + 1).abs() < 1e-6)) & ((high - 1).abs() < 1e-6)
    return int((whole & ((rows - rows.round()).abs() > 1e-6).any(0)).sum())


def is_series(values: Tensor) -> bool:
    """Whether examples are windows of a few series: (N, T, C)."""
    return values.ndim == 3 and values.shape[2] <= SERIES and values.shape[1] * values.shape[2] <= 4 * COLUMNS


def spanned(rows: Tensor, others: Tensor) -> int:
    """Return how many columns go from exactly 0 to exactly 1 only with the others: a part of these lies beyond the rows.

    Flags do not count, nor a clock, whose values are evenly spaced.
    """
    count = 0
    for own, theirs in zip(rows.T, others.T, strict=True):
        values = torch.cat([own, theirs]).unique()
        steps = values.diff()
        exact = len(values) >= 50 and abs(float(values[0])) < 2e-7 and abs(float(values[-1]) - 1) < 2e-7
        uneven = exact and bool((steps - steps.mean()).abs().max() > 0.1 * steps.mean())
        beyond = int(((values < own.min()) | (values > own.max())).sum())
        count += uneven and beyond >= max(10, 0.02 * len(values))
    return count


def source_of(thing: Any) -> str:
    """Return the code of a function, or of the methods of a class of the user's."""
    parts = [part for part in vars(thing).values() if inspect.isfunction(part)] if isinstance(thing, type) else [thing]
    code: list[str] = []
    for part in parts:
        with suppress(OSError, TypeError):
            code.append(inspect.getsource(part))
    return "".join(code)


def safe_to_read(code: str) -> bool:
    """Whether a dataset's code looks as if one more reading left no trace but in what it keeps."""
    return bool(code) and not any(word in code for word in UNSAFE)


def generator_state(value: Any) -> Any:
    """Return the state of a random generator in a form that compares, or None if it is none."""
    numpy = sys.modules.get("numpy")
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if numpy is not None and isinstance(value, numpy.random.Generator):
        return repr(value.bit_generator.state)
    if numpy is not None and isinstance(value, numpy.random.RandomState):
        state = value.get_state()
        return state[1].tobytes(), state[2]
    return None


def _same_generator(value: torch.Generator) -> torch.Generator:
    twin = torch.Generator(device=value.device)
    twin.set_state(value.get_state())
    return twin


# Whether reading changes what is read.


def changed_by_reading(dataset: Dataset[Any]) -> Site | None:
    """Read one example again, and return the line that changes what the dataset keeps of it.

    What it keeps is put back, and it is a shallow copy that reads, so that its counters stay as they are.
    """
    base, indices = innermost(dataset)
    kind = type(base)
    reads = vars(kind).get("__getitem__")
    if reads is None or not sites.is_users(getattr(getattr(reads, "__code__", None), "co_filename", "<")):
        return None  # the one of an installed package: it would be known for it
    if not safe_to_read(source_of(kind)):
        return None
    index = int(indices[0]) if indices else 0
    inner = [
        one for one in _attributes(base).values() if isinstance(one, Dataset) and safe_to_read(source_of(type(one)))
    ]
    holders = [base, *(one for one in inner if "__len__" in dir(one) and len(one) == len(base))]  # pyright: ignore[reportArgumentType]
    values = [value for holder in holders for value in _attributes(holder).values()]
    kept = [(value, index) for value in values if _is_row_of(value, index, len(base))]
    if not kept:
        return None
    before = [_copied(value[index]) for value, index in kept]

    def changed() -> bool:
        return any(not _equal(value[index], old) for (value, index), old in zip(kept, before, strict=True))

    twin = copy.copy(base)
    last: list[Site | None] = [None]
    found: list[Site | None] = [None]
    for name, value in list(_attributes(twin).items()):
        if generator_state(value) is not None:
            setattr(
                twin, name, copy.deepcopy(value) if not isinstance(value, torch.Generator) else _same_generator(value)
            )

    def trace(frame: Any, event: str, _: Any) -> Any:
        if not sites.is_users(frame.f_code.co_filename):
            return None
        if event in ("line", "return") and found[0] is None:
            if last[0] is not None and changed():
                found[0] = last[0]
            last[0] = Site(frame.f_code.co_filename, frame.f_lineno)
        return trace

    with _aside(), suppress(Exception):
        with _traced(trace):
            twin[index]
        if found[0] is None and changed():
            found[0] = last[0]
    for (value, index), old in zip(kept, before, strict=True):
        if not _equal(value[index], old):
            if isinstance(value[index], Tensor):
                value[index].copy_(old)
            elif hasattr(value[index], "dtype") and getattr(value[index], "ndim", 0):
                value[index][...] = old
            else:
                value[index] = old
    return found[0]


def read_twice(dataset: Any) -> tuple[bool, list[str]]:
    """Read an example twice, and say whether it differs, and what the code of the dataset calls that."""
    base, indices = innermost(dataset)
    code = source_of(type(base))
    parts = [value for name, value in _attributes(base).items() if "transform" in name or "aug" in name]
    if "__getitem__" not in vars(type(base)) or not safe_to_read(code):
        return False, []
    said = code + " ".join(source_of(part if inspect.isfunction(part) else type(part)) + repr(part) for part in parts)
    found = [word for word in AUGMENTATIONS if word in said.lower()]
    index = int(indices[0]) if indices else 0
    if not found or changed_by_reading(dataset) is not None:
        return False, []
    differs = False
    with _aside(), suppress(Exception):
        twin = copy.copy(base)
        for name, value in list(_attributes(twin).items()):
            if generator_state(value) is not None:
                setattr(
                    twin,
                    name,
                    copy.deepcopy(value) if not isinstance(value, torch.Generator) else _same_generator(value),
                )
        first = tensors_in(twin[index])
        for _ in range(3):
            again = tensors_in(twin[index])
            differs = differs or any(a.shape != b.shape or not _equal(a, b) for a, b in zip(first, again, strict=False))
    return differs, found


@contextmanager
def _traced(trace: Any) -> Generator[None]:
    was = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(was)


def _is_row_of(value: Any, index: int, count: int) -> bool:
    numpy = sys.modules.get("numpy")
    if isinstance(value, Tensor):
        return value.ndim > 0 and value.shape[0] >= count > 0 and value.device.type == "cpu"
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.ndim > 0 and value.shape[0] >= count and value.dtype.kind in "fiu"
    if isinstance(value, list) and len(value) >= count > index:
        return isinstance(value[index], Tensor) or (numpy is not None and isinstance(value[index], numpy.ndarray))
    return False


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.copy(value)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.shape == other.shape and bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())
    equal = (one == other) | ((one != one) & (other != other))  # noqa: PLR0124 - only what is no number differs from itself
    return bool(equal.all()) if hasattr(equal, "all") else bool(equal)


def _attributes(thing: Any) -> dict[str, Any]:
    """Return what an object keeps under its names; a list of examples keeps nothing so."""
    return getattr(thing, "__dict__", {})
