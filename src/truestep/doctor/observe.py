"""Looks at a run from PyTorch's own stable places, without changing a bit of what it computes.

`Watch` wraps functions of PyTorch while it is on. Each wrapper calls what it wraps exactly once, with the same arguments,
and hands on what it returns or raises. What the sensors do around the call draws no random number, is left out while
PyTorch traces or compiles, and may fail without anybody noticing but `Record.own_errors`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import wraps
from threading import get_ident
from typing import Any, ClassVar

import torch
from torch.compiler import is_compiling

from truestep.doctor import sites
from truestep.doctor.calls import Calls
from truestep.doctor.collectives import Collectives
from truestep.doctor.graph import Losses
from truestep.doctor.keeping import Keeping
from truestep.doctor.loaders import Loaders
from truestep.doctor.record import CLOSELY, Event, Record
from truestep.doctor.schedules import Schedules
from truestep.doctor.steps import Steps

AGAIN = 3  # steps that are looked at once something is new
NEWS = 64  # times that this may happen
_is_tracing: Callable[[], bool] = torch._C._is_tracing  # torch.jit.is_tracing
_level: Callable[[], int | None] = torch._C._functorch.maybe_current_level  # pyright: ignore[reportAttributeAccessIssue]  # no public way
_watching: weakref.WeakSet[Watch] = weakref.WeakSet()


def _in_a_copy() -> None:
    """A copy of this process, such as a worker of a loader, is not watched."""
    for watch in list(_watching):
        watch.on = False


os.register_at_fork(after_in_child=_in_a_copy)


class Watch:
    """Watches everything that this process does with PyTorch, from `start` to `stop`.

    What is cheap is counted at every step. What takes time, or makes a device wait, is done at the steps that are looked at
    closely: many of the first ones, ever fewer later, and a few again whenever something happens that did not before.
    """

    current: ClassVar[Watch | None] = None  # the one that is on

    def __init__(self) -> None:
        self.record = Record()
        self.on = False
        self.errors: list[BaseException] = []
        self._undo: list[Callable[[], Any]] = []
        self._thread = get_ident()
        self.happened: set[Any] = set()  # kinds of events since the last step
        self._usual: set[frozenset[Any]] = set()  # that steps are made of
        self._until = 0  # the number of steps up to which all are looked at
        _watching.add(self)
        self.calls, self.losses, self.steps = Calls(self), Losses(self), Steps(self)
        self.loaders, self.keeping, self.schedules = Loaders(self), Keeping(self), Schedules(self)
        self.collectives = Collectives(self)
        self.sensors = (
            *(self.steps, self.schedules, self.losses, self.calls, self.loaders, self.keeping, self.collectives),
        )

    def start(self) -> None:
        Watch.current = Watch.current or self
        self._thread = get_ident()
        for sensor in self.sensors:
            sensor.install()
        self.on = True

    def stop(self) -> None:
        self.leave()
        self.conclude()

    def leave(self) -> None:
        """Put PyTorch's functions back."""
        self.on = False
        self.losses.trace(on=False)
        while self._undo:
            self._undo.pop()()
        Watch.current = None if Watch.current is self else Watch.current

    def conclude(self) -> None:
        """Let the sensors write down what they only know at the end."""
        for sensor in self.sensors:
            self.guarded(sensor.conclude)

    # What sensors are built from.

    def wrap(
        self,
        owner: Any,
        name: str,
        before: Callable[..., Any] | None = None,
        after: Callable[..., None] | None = None,
    ) -> None:
        """Call `before(*args, **kwargs)` ahead of a function and `after(said, result, *args, **kwargs)` behind it."""

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(original)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if is_compiling() or not self.watching():
                    return original(*args, **kwargs)
                said = None
                if before:
                    self.on = False  # as `guarded` does, without a call more: this is where the time goes
                    try:
                        said = before(*args, **kwargs)
                    except Exception as error:  # noqa: BLE001
                        self.failed(error, before)
                    finally:
                        self.on = True
                result = original(*args, **kwargs)
                if after and self.on:
                    self.on = False
                    try:
                        after(said, result, *args, **kwargs)
                    except Exception as error:  # noqa: BLE001
                        self.failed(error, after)
                    finally:
                        self.on = True
                return result

            return wrapper

        self._replace(owner, name, make)

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        own = vars(owner).get(name, self)  # self stands for: inherited
        setattr(owner, name, make(getattr(owner, name)))
        self._undo.append(lambda: delattr(owner, name) if own is self else setattr(owner, name, own))

    def at_stop(self, undo: Callable[[], Any]) -> None:
        self._undo.append(undo)

    def watching(self) -> bool:
        """Whether to look now: in the thread and process that we watch, and in nobody's trace, nor in our own code."""
        return self.on and get_ident() == self._thread and not _is_tracing() and _level() is None

    def looks(self, number: int) -> bool:
        """Whether to look closely, when something happens for the time of this number."""
        return number in CLOSELY or self.record.steps < self._until

    def wake(self) -> None:
        """Look closely at the next steps, because something is new."""
        if len(self._usual) < NEWS:
            self._until = self.record.steps + AGAIN

    def stepped(self) -> None:
        """See whether a step was made of what others were made of."""
        kinds = frozenset(self.happened)
        self.happened.clear()
        if kinds not in self._usual:
            self.wake()
            if len(self._usual) < NEWS:
                self._usual.add(kinds)

    def guarded(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call our own code: nothing it does is watched, and an error of ours is counted, not raised."""
        was, self.on = self.on, False
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is, it is ours and not the script's
            self.failed(error, function)
            return None
        finally:
            self.on = was

    def failed(self, error: Exception, function: Callable[..., Any]) -> None:
        """Count an error of ours."""
        self.record.own_errors[f"{type(error).__name__}: {error} in {function.__qualname__}"] += 1
        if len(self.errors) < 20:
            self.errors.append(error)

    def event(self, kind: str, of: int = -1, **facts: Any) -> Event | None:
        """Take note that something happened, and of where while the first steps are kept."""
        self.happened.add((kind, of))
        if not self.steps.keeps_events:
            return None
        event = Event(kind, sites.here(), of, facts)
        self.steps.keep(event)
        return event
