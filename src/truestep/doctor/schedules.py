"""Sees learning rate schedules: whose they are, when they step, and what a plateau schedule watches."""

from __future__ import annotations

import re
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from truestep.doctor import sites
from truestep.doctor.record import ScheduleFacts

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch


IN_ALL = re.compile(r"(train|total|max|num|all)\w*_(steps|iters|iterations|updates)$", re.IGNORECASE)
RATES = 20_000  # of a schedule that are kept


@dataclass
class Seen:
    """What is going on with one schedule."""

    schedule: weakref.ref[Any]
    facts: ScheduleFacts
    last: int = 0  # steps of its optimizer at its own last step
    last_of_all: int = 0  # and of all optimizers


class Schedules:
    """The sensor of schedules."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seen: dict[int, Seen] = {}

    def install(self) -> None:
        watch = self.watch
        kinds = {
            kind for kind in vars(lr_scheduler).values() if isinstance(kind, type) and issubclass(kind, LRScheduler)
        }
        for kind in kinds:
            if kind is LRScheduler or (kind is lr_scheduler.ReduceLROnPlateau and "__init__" in vars(kind)):
                watch.wrap(kind, "__init__", after=self._made)
            if "step" in vars(kind):
                watch.wrap(kind, "step", before=self._stepping, after=self._stepped)

    def _made(self, _: Any, __: Any, schedule: Any, optimizer: Any = None, *___: Any, **____: Any) -> None:
        if self._of(schedule) is not None:
            return
        inner = getattr(optimizer, "optimizer", optimizer)  # of Accelerate and others, which wrap it
        facts = ScheduleFacts(len(self.watch.record.schedules), type(schedule).__name__, sites.here())
        if isinstance(inner, Optimizer):
            facts.optimizer = self.watch.steps.of(inner).facts.number
        facts.mode = str(getattr(schedule, "mode", ""))
        facts.unit = _unit(schedule)
        self.watch.record.schedules.append(facts)
        self.seen[id(schedule)] = Seen(weakref.ref(schedule), facts)

    def _of(self, schedule: Any) -> Seen | None:
        found = self.seen.get(id(schedule))
        return found if found is not None and found.schedule() is schedule else None  # None: it is still being made

    def _stepping(self, schedule: Any, *_: Any, **__: Any) -> None:
        seen = self._of(schedule)
        if seen is None:
            return
        facts, record = seen.facts, self.watch.record
        steps = record.optimizers[facts.optimizer].steps if facts.optimizer >= 0 else 0
        facts.before_optimizer += steps == 0
        between, others = steps - seen.last, record.steps - seen.last_of_all
        facts.idle += between == 0 and others > 0
        if len(facts.optimizer_steps_between) < 1_000:
            facts.optimizer_steps_between[between] += 1
        seen.last, seen.last_of_all = steps, record.steps

    def _stepped(self, _: Any, __: Any, schedule: Any, *args: Any, **kwargs: Any) -> None:
        seen = self._of(schedule)
        if seen is None:
            return
        facts = seen.facts
        facts.steps += 1
        facts.step_sites[sites.here()] += 1
        if facts.steps == 2:
            facts.step_stack = sites.stack(6)
        self.watch.loaders.scheduled(facts.number)
        rate = schedule.optimizer.param_groups[0]["lr"]
        if len(facts.rates) < RATES and isinstance(rate, int | float):
            facts.rates.append(float(rate))
        value = args[0] if args else kwargs.get("metrics")
        if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) and len(facts.values) < 2_000:
            facts.values.append((self.watch.record.steps, float(value or 0), float(rate)))
        self.watch.event("schedule", facts.number)

    def conclude(self) -> None:
        """Nothing is left to write down."""


def _unit(schedule: Any) -> int | None:
    """Return the number of its own steps that a schedule was made for."""
    for name in ("total_steps", "T_max", "step_size", "total_iters"):
        value = getattr(schedule, name, None)
        if isinstance(value, int):
            return value
    milestones = getattr(schedule, "milestones", None)
    if milestones:
        return max(milestones)
    return max((count for rule in getattr(schedule, "lr_lambdas", ()) for count in _steps_of(rule)), default=None)


def _steps_of(rule: Any) -> list[int]:
    """Return the numbers of steps in all that a function for the rate is bound to, by their names."""
    bound = dict(getattr(rule, "keywords", None) or {})
    function = getattr(rule, "func", rule)
    code = getattr(function, "__code__", None)
    if code is not None:
        for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=False):
            with suppress(ValueError):  # not filled yet
                bound[name] = cell.cell_contents
    return [value for name, value in bound.items() if IN_ALL.search(name) and type(value) is int and value > 0]
