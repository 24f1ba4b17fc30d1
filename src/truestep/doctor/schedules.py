"""Sees learning rate schedules: whose they are, when they step, and what a plateau schedule watches."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from truestep.doctor import sites
from truestep.doctor.record import ScheduleFacts

if TYPE_CHECKING:
    from truestep.doctor.observe import Watch


@dataclass
class Seen:
    """What is going on with one schedule."""

    schedule: weakref.ref[Any]
    facts: ScheduleFacts
    last: int = 0  # steps of its optimizer at its own last step


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

    def _made(self, _: Any, __: Any, schedule: Any, optimizer: Any = None, *args: Any, **kwargs: Any) -> None:
        if self._of(schedule) is not None:
            return
        inner = getattr(optimizer, "optimizer", optimizer)  # of Accelerate and others, which wrap it
        facts = ScheduleFacts(len(self.watch.record.schedules), type(schedule).__name__, sites.here())
        if isinstance(inner, Optimizer):
            facts.optimizer = self.watch.steps.of(inner).facts.number
        facts.mode = str(getattr(schedule, "mode", ""))
        planned = getattr(schedule, "total_steps", None) or getattr(schedule, "T_max", None)
        facts.planned = planned if isinstance(planned, int) else None
        self.watch.record.schedules.append(facts)
        self.seen[id(schedule)] = Seen(weakref.ref(schedule), facts)

    def _of(self, schedule: Any) -> Seen | None:
        found = self.seen.get(id(schedule))
        return found if found is not None and found.schedule() is schedule else None  # None: it is still being made

    def _stepping(self, schedule: Any, *args: Any, **kwargs: Any) -> None:
        seen = self._of(schedule)
        if seen is None:
            return
        facts = seen.facts
        optimizer = next((o for o in self.watch.record.optimizers if o.number == facts.optimizer), None)
        steps = optimizer.steps if optimizer else 0
        if facts.steps == 0 and steps == 0:
            facts.before_optimizer = True
        facts.optimizer_steps_between[steps - seen.last] += 1
        seen.last = steps

    def _stepped(self, _: Any, __: Any, schedule: Any, *args: Any, **kwargs: Any) -> None:
        seen = self._of(schedule)
        if seen is None:
            return
        facts = seen.facts
        facts.steps += 1
        site = sites.here()
        facts.step_sites[site] += 1
        value = args[0] if args else kwargs.get("metrics")
        if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) and len(facts.values) < 2_000:
            rate = schedule.optimizer.param_groups[0]["lr"]
            facts.values.append((self.watch.record.steps, float(value), float(rate)))
        self.watch.event("schedule", facts.number)

    def conclude(self) -> None:
        """Nothing is left to write down."""
