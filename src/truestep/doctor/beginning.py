"""Watches how a run of `truestep train` begins, and leaves PyTorch as it was for the rest of it.

What is the user's own in such a run, the model, the data and the choices, can be wrong like any script. Ten updates are
enough for the rules of steps and losses; those of modes want to see an evaluation too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from truestep.doctor.diagnosis import diagnose
from truestep.doctor.observe import Watch
from truestep.doctor.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

UPDATES = 10  # that are always watched
LONGEST = 100  # updates of an epoch that is watched to its end and through the evaluation behind it


class Beginning:
    """The first updates of a run, and its first evaluation if that comes soon.

    Args:
        enabled: whether to watch at all. Where somebody watches already, this does nothing either.
        tell: called with the report as soon as it is known.
    """

    def __init__(self, *, enabled: bool, tell: Callable[[Report], None]) -> None:
        self.watch = Watch() if enabled and Watch.current is None else None
        self.tell = tell
        self.report: Report | None = None  # once it is over
        self.least, self.updates, self.evaluated = math.inf, 0, False

    def __enter__(self) -> Self:
        if self.watch:
            self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def epoch_has(self, updates: int | None) -> None:
        """Take note of how many updates come before the first evaluation; None if nobody knows."""
        self.least = math.inf if updates is not None and updates <= LONGEST else UPDATES

    def updated(self) -> None:
        """Take note of an update. Called at other times, it does nothing."""
        if self.watch:
            self.updates = self.watch.record.steps
            self._end_if_enough()

    def epoch_begins(self) -> None:
        """Take note of an epoch's beginning; one that is not the first has an evaluation before it."""
        if self.watch:
            self.evaluated = self.updates > 0
            self._end_if_enough()

    def _end_if_enough(self) -> None:
        if self.updates >= UPDATES and (self.evaluated or self.updates >= self.least):
            self.end()

    def end(self) -> None:
        """Leave PyTorch as it was, and tell what was found."""
        watch, self.watch = self.watch, None
        if watch:
            watch.stop()
            self.report = Report(diagnose(watch.record))
            self.report.take(watch.record)
            self.tell(self.report)
