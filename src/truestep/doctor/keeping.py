"""Sees weights being kept, saved and loaded."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from truestep.doctor import sites
from truestep.doctor.record import LoadFacts, SnapshotFacts

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch


class Keeping:
    """The sensor of state_dicts."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.snapshots: list[tuple[weakref.ref[Any] | None, SnapshotFacts, set[int]]] = []
        self.from_files: dict[int, dict[str, Any]] = {}  # by the address of a tensor's memory
        self.kept_alive: list[Any] = []

    def install(self) -> None:
        watch = self.watch
        watch.wrap(nn.Module, "state_dict", after=self._taken)
        watch.wrap(nn.Module, "load_state_dict", before=self._loading)
        watch.wrap(Optimizer, "load_state_dict", before=self._loading_optimizer)
        watch.wrap(torch, "load", after=self._read)
        watch.wrap(torch, "save", before=self._saving)

    def _taken(self, _: Any, state: Any, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        if args or kwargs.get("destination") is not None or kwargs.get("prefix"):
            return  # of a part, on the way
        site, addresses = sites.here(), addresses_in(state)
        if site is None or not addresses:
            return
        for reference, facts, _ in self.snapshots:
            if facts.site == site and reference is not None and reference() is None:
                facts.times += 1
        facts = SnapshotFacts(site, self.watch.record.steps, aliased=True, times=1)
        if len(self.snapshots) < 500:
            self.snapshots.append((weakref.ref(state), facts, addresses))
            self.watch.record.snapshots.append(facts)

    def _loading(self, module: nn.Module, state: Any = None, *args: Any, **kwargs: Any) -> None:
        if not isinstance(state, Mapping):
            return
        from truestep.doctor.calls import is_model

        strict = kwargs.get("strict", args[0] if args else True)
        own = {name: value for name, value in nn.Module.state_dict(module).items() if isinstance(value, Tensor)}
        given = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        step = self.watch.record.steps
        facts = LoadFacts(sites.here(), "model", step, len(given), sum(name in own for name in given))
        facts.examples = (next(iter(given), ""), next(iter(own), ""))
        source = next((self.from_files[v.data_ptr()] for v in given.values() if v.data_ptr() in self.from_files), None)
        facts.file = source is not None
        facts.has_optimizer = bool(source and source.get("optimizer"))
        facts.strict = bool(strict)
        self.watch.record.loads.append(facts)
        if step == 0 and is_model(module) and facts.matched:
            self.watch.calls.of(module).facts.pretrained = True
        aliased = sum(name in own and own[name].data_ptr() == value.data_ptr() for name, value in given.items())
        if aliased and aliased >= len(given) / 2:
            addresses = {value.data_ptr() for value in given.values()}
            for _, snapshot, theirs in reversed(self.snapshots):
                if theirs & addresses and snapshot.step <= step:
                    snapshot.loaded_at, snapshot.loaded_step = facts.site, step
                    if snapshot.step < step:
                        break

    def _loading_optimizer(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        self.watch.record.loads.append(LoadFacts(sites.here(), "optimizer", self.watch.record.steps))

    def _read(self, _: Any, result: Any, *__: Any, **___: Any) -> None:
        facts = {"optimizer": _holds_optimizer(result)}
        for address in list(addresses_in(result))[:200]:
            self.from_files[address] = facts
        self.kept_alive.append(None)

    def _saving(self, value: Any = None, *_: Any, **__: Any) -> None:
        step = self.watch.record.steps
        objects = [value, *(value.values() if isinstance(value, dict) else ())]
        for reference, facts, _ in self.snapshots:
            state = reference() if reference is not None else None
            if state is not None and any(one is state for one in objects) and facts.step < step:
                facts.saved_at, facts.saved_step = sites.here(), step

    def conclude(self) -> None:
        """Nothing is left over."""


def addresses_in(value: Any, depth: int = 0) -> set[int]:
    """Return where the tensors of a nest have their memory."""
    if isinstance(value, Tensor):
        return {value.data_ptr()} - {0} if value.device.type != "meta" else set()
    if depth > 3:
        return set()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return {address for part in list(value)[:2000] for address in addresses_in(part, depth + 1)}
    return set()


def _holds_optimizer(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, Mapping) or depth > 2:
        return False
    return "param_groups" in value or any(_holds_optimizer(part, depth + 1) for part in value.values())
