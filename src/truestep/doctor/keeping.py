"""Sees weights being kept, saved and loaded."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from truestep.doctor import sites, source
from truestep.doctor.parameters import sample
from truestep.doctor.record import LoadFacts, MetricFacts, Site, SnapshotFacts

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch


class Kept:
    """A state_dict that was taken, known by its tensors: they are made anew each time, and copies of the dict hold them too."""

    def __init__(self, facts: SnapshotFacts, tensors: list[Tensor]) -> None:
        self.facts = facts
        self.tensors = [weakref.ref(tensor) for tensor in tensors]
        self.samples = [sample(tensor) for tensor in tensors]

    def is_in(self, ids: set[int]) -> bool:
        return any((tensor := reference()) is not None and id(tensor) in ids for reference in self.tensors)

    def alive(self) -> bool:
        return any(reference() is not None for reference in self.tensors)

    def changed(self) -> bool:
        pairs = zip(self.tensors, self.samples, strict=True)
        return any((t := r()) is not None and not torch.equal(sample(t), before) for r, before in pairs)


@dataclass
class Counting:
    """What a metric has been shown."""

    metric: weakref.ref[Any]
    facts: MetricFacts
    at: list[int] = field(default_factory=list)  # optimizer steps before each update since it was reset
    computed: int = -1  # optimizer steps before it was computed last
    counted: int = 0  # updates before it was computed last


class Keeping:
    """The sensor of state_dicts."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.kept: list[Kept] = []
        self.from_files: dict[int, tuple[weakref.ref[Tensor], dict[str, Any]]] = {}  # by the id of a tensor
        self.metrics: dict[int, Counting] = {}
        self.metric_kinds: set[type] = set()
        self.searches = 0
        self.unused: dict[str, Any] | None = None  # the last file of weights that nothing was loaded from yet

    def install(self) -> None:
        watch = self.watch
        watch.wrap(nn.Module, "state_dict", after=self._taken)
        watch.wrap(nn.Module, "load_state_dict", before=self._loading)
        watch.wrap(nn.Module, "eval", before=self._used)
        watch.wrap(Optimizer, "load_state_dict", before=self._loading_optimizer)
        watch.wrap(DataLoader, "__iter__", before=self._find_metrics)
        watch.wrap(torch, "load", after=self._read)
        watch.wrap(torch, "save", before=self._saving)

    def _taken(self, _: Any, state: Any, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        if args or kwargs.get("destination") is not None or kwargs.get("prefix"):
            return  # of a part, on the way
        self._used(module)
        tensors = [t for t in state.values() if isinstance(t, Tensor) and t.is_floating_point() and t.numel()]
        site = sites.here()
        if site is None or not tensors:
            return
        self.kept = [one for one in self.kept if one.alive()]
        if len(self.kept) < 50 and len(self.watch.record.snapshots) < 2_000:
            facts = SnapshotFacts(site, self.watch.record.steps)
            self.kept.append(Kept(facts, [*tensors[:2], *tensors[-1:]]))
            self.watch.record.snapshots.append(facts)

    def _used(self, module: nn.Module, *_: Any, **__: Any) -> None:
        """See whether a line that evaluates or keeps a trained model calls it by the name of the best one."""
        known, step = self.watch.calls.known.get(id(module)), self.watch.record.steps
        if known is None or known.module() is not module or known.facts.renamed is not None or step < 3:
            return
        frame, lines = sys._getframe(1), 0
        while frame is not None and lines < 3:
            if sites.is_users(frame.f_code.co_filename):
                lines += 1
                line = Site(frame.f_code.co_filename, frame.f_lineno)
                for name, original, assigned in source.renamings(line):
                    if (
                        name in source.words_in(line)
                        and bound(frame, name) is module
                        and bound(frame, original) is module
                    ):
                        known.facts.renamed = (name, original, assigned, line, step)
                        return
            frame = frame.f_back

    def _loading(self, module: nn.Module, state: Any = None, *args: Any, **kwargs: Any) -> None:
        if not isinstance(state, Mapping):
            return
        strict = kwargs.get("strict", args[0] if args else True)
        own = {name: value for name, value in nn.Module.state_dict(module).items() if isinstance(value, Tensor)}
        given = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
        step = self.watch.record.steps
        facts = LoadFacts(sites.here(), "model", step, len(given), sum(name in own for name in given), len(own))
        facts.keys = facts.keys or len(tensors_of(state))  # a file of several dicts, given whole
        facts.examples = (str(next(iter(given or state), "")), next(iter(own), ""))
        source = self._source(given.values())
        facts.file = source is not None
        facts.has_optimizer = bool(source and source["optimizer"])
        facts.counters = source["counters"] if source else ()
        facts.strict = bool(strict)
        parts = {name: own[name] for name in given if name in own}
        facts.itself = bool(parts) and all(parts[name].data_ptr() == given[name].data_ptr() for name in parts)
        earlier = self._match({id(value) for value in given.values()}, facts.site, loaded=True, itself=facts.itself)
        if source is None and facts.matched and not facts.itself and not changed_by(module, given):
            self._in_vain(own, facts.site)
        if source is None and facts.itself and not earlier and self.unused is not None and len(parts) == len(own):
            facts.file_left, facts.examples = True, (self.unused["example"], facts.examples[1])
        if source is not None and facts.matched:
            self.unused = None
        facts.model = next((k.facts.number for k in self.watch.calls.known.values() if k.module() is module), -1)
        self.watch.record.loads.append(facts)
        if facts.matched and not facts.itself:
            self.watch.steps.parameters.loaded(changed_by(module, given))
            if step == 0:
                self._is_pretrained(module)

    def _in_vain(self, own: Mapping[str, Tensor], site: Site | None) -> None:
        """Note what was taken of a model earlier, which is given the very numbers that it has.

        So it is with what is computed of the model's own tensors before and after: both are what they are now.
        """
        places = {tensor.data_ptr() for tensor in own.values()}
        for one in self.kept:
            alive = [tensor for reference in one.tensors if (tensor := reference()) is not None]
            of_it = bool(alive) and all(tensor.data_ptr() in places for tensor in alive)
            if of_it and one.facts.step < self.watch.record.steps and one.changed():
                one.facts.in_vain_at = site

    def _is_pretrained(self, module: nn.Module) -> None:
        from truestep.doctor.calls import is_model

        if is_model(module):
            self.watch.calls.of(module).facts.pretrained = True

    def _source(self, values: Iterable[Tensor]) -> dict[str, Any] | None:
        for value in values:
            found = self.from_files.get(id(value))
            if found is not None and found[0]() is value:
                return found[1]
        return None

    def _match(self, ids: set[int], site: Site | None, *, loaded: bool, itself: bool = False) -> bool:
        """Find what is being loaded or saved; of interest is what was taken at an earlier step and moved since."""
        step, found = self.watch.record.steps, False
        for one in self.kept:
            facts = one.facts
            if facts.step < step and one.is_in(ids) and one.changed():
                found = True
                if loaded:
                    facts.loaded_at, facts.loaded_step, facts.into_itself = site, step, itself
                    facts.loads += 1
                else:
                    facts.saved_at, facts.saved_step = site, step
                    facts.saves += 1
        return found

    def _loading_optimizer(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        seen = self.watch.steps.of(optimizer)
        facts = LoadFacts(sites.here(), "optimizer", self.watch.record.steps)
        facts.model = seen.facts.number
        self.watch.record.loads.append(facts)

    def _read(self, _: Any, result: Any, *__: Any, **___: Any) -> None:
        if isinstance(result, nn.Module):
            self.watch.steps.parameters.loaded(result.parameters())
            return
        tensors = tensors_of(result)
        facts = {
            "optimizer": holds_optimizer(result),
            "counters": tuple(k for k in result if isinstance(k, str) and isinstance(result[k], int))
            if isinstance(result, Mapping)
            else (),
            "example": first_key(result),
        }
        for tensor in tensors[:2_000]:
            self.from_files[id(tensor)] = (weakref.ref(tensor), facts)
        if facts["example"]:
            self.unused = facts

    def _saving(self, value: Any = None, *_: Any, **__: Any) -> None:
        self._match({id(tensor) for tensor in tensors_of(value)}, sites.here(), loaded=False)

    # Metrics, known by what they can do.

    def _find_metrics(self, *_: Any, **__: Any) -> None:
        """Watch classes of the user's that have update, compute and reset, once they are defined."""
        self.searches += 1
        if self.searches > 20:
            return
        frame = sys._getframe(1)
        while frame is not None:
            if sites.is_users(frame.f_code.co_filename):
                for kind in {type(v) if not isinstance(v, type) else v for v in list(frame.f_globals.values())}:
                    if kind not in self.metric_kinds and is_metric(kind):
                        self.metric_kinds.add(kind)
                        self.watch.wrap(kind, "update", after=self._metric_updated)
                        self.watch.wrap(kind, "compute", before=self._metric_state, after=self._metric_computed)
                        self.watch.wrap(kind, "reset", after=self._metric_reset)
            frame = frame.f_back

    def _metric(self, metric: Any) -> Counting | None:
        found = self.metrics.get(id(metric))
        if (found is None or found.metric() is not metric) and len(self.watch.record.metrics) < 200:
            facts = MetricFacts(type(metric).__name__)
            found = self.metrics[id(metric)] = Counting(weakref.ref(metric), facts)
            self.watch.record.metrics.append(facts)
        return found

    def _metric_updated(self, _: Any, __: Any, metric: Any, *___: Any, **____: Any) -> None:
        counting = self._metric(metric)
        if counting is not None:
            counting.facts.updates += 1
            counting.at.append(self.watch.record.steps)
            counting.at = counting.at[-1000:]

    @staticmethod
    def _metric_state(metric: Any, *_: Any, **__: Any) -> list[Any]:
        """Return what a metric has counted, as far as it can be compared: numbers, and lengths of lists."""
        values = vars(metric).values()
        return [len(v) if isinstance(v, list | dict) else v for v in values if isinstance(v, int | float | list | dict)]

    def _metric_computed(self, before: list[Any] | None, _: Any, metric: Any, *__: Any, **___: Any) -> None:
        counting = self._metric(metric)
        if counting is None:
            return
        if before is not None and self._metric_state(metric) != before:
            counting.facts.resets += 1  # it clears itself, perhaps
            return
        facts, step, last = counting.facts, self.watch.record.steps, counting.computed
        facts.computes += 1
        facts.site = sites.here()
        now = sum(at == step for at in counting.at)
        # Several updates with the model as it is, after several with the model as it was when computed before.
        facts.mixed += now >= 2 and 0 <= last < step and sum(at == last for at in counting.at) >= 2
        facts.carried += counting.counted >= 2 and facts.updates - counting.counted >= 2
        counting.computed, counting.counted = step, facts.updates

    def _metric_reset(self, _: Any, __: Any, metric: Any, *___: Any, **____: Any) -> None:
        counting = self._metric(metric)
        if counting is not None:
            counting.facts.resets += bool(counting.at)
            counting.facts.updates, counting.counted, counting.at, counting.computed = 0, 0, [], -1

    def conclude(self) -> None:
        """Nothing is left over."""


def changed_by(module: nn.Module, given: Mapping[str, Tensor]) -> list[nn.Parameter]:
    """Return the parameters that are about to get other values: a model that is given back its own has loaded nothing."""
    found: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        value = given.get(name)
        if value is not None and value.shape == parameter.shape:
            one, other = sample(parameter), sample(value)
            if one.shape != other.shape or not torch.equal(one, other.to(one)):
                found.append(parameter)
    return found


def is_metric(kind: type) -> bool:
    """Whether a class of the user's sums over batches, and can be watched."""
    methods = [vars(kind).get(name) for name in ("update", "compute", "reset")]
    codes = [getattr(method, "__code__", None) for method in methods]
    return all(code is not None and sites.is_users(code.co_filename) for code in codes) and bool(kind.__weakrefoffset__)


def bound(frame: Any, name: str) -> Any:
    """Return what a name stands for in a frame, as a variable or as an attribute of self."""
    found = frame.f_locals.get(name, frame.f_globals.get(name))
    return getattr(frame.f_locals.get("self"), "__dict__", {}).get(name) if found is None else found


def tensors_of(value: Any, depth: int = 0) -> list[Tensor]:
    """Return the tensors of a nest of dicts and lists."""
    if isinstance(value, Tensor):
        return [value]
    if depth > 4:
        return []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for part in list(value)[:2000] for tensor in tensors_of(part, depth + 1)]
    return []


def holds_optimizer(value: Any, depth: int = 0) -> bool:
    """Whether a nest holds the state of an optimizer that has one: momentum, moments."""
    if not isinstance(value, Mapping) or depth > 2:
        return False
    if "param_groups" in value:
        return bool(value.get("state"))
    return any(holds_optimizer(part, depth + 1) for part in value.values())


def first_key(value: Any, depth: int = 0) -> str:
    """Return the first name of a tensor in a file of weights."""
    if not isinstance(value, Mapping) or depth > 2 or "param_groups" in value:
        return ""
    tensors = [key for key, part in value.items() if isinstance(key, str) and isinstance(part, Tensor)]
    return tensors[0] if tensors else next((key for part in value.values() if (key := first_key(part, depth + 1))), "")
