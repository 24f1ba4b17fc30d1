"""Looks at a run from PyTorch's own stable places, without changing a bit of what it computes.

`Watch` wraps functions of PyTorch while it is on. Each wrapper calls what it wraps exactly once, with the same arguments,
and hands on what it returns or raises. What the sensors do around the call draws no random number, is left out while
PyTorch traces or compiles, and may fail without anybody noticing but `Record.own_errors`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import torch

from truestep.doctor import sites
from truestep.doctor.calls import Calls
from truestep.doctor.graph import Losses
from truestep.doctor.keeping import Keeping
from truestep.doctor.loaders import Loaders
from truestep.doctor.record import Event, Record
from truestep.doctor.schedules import Schedules
from truestep.doctor.steps import Steps


class Watch:
    """Watches everything that this process does with PyTorch, from `start` to `stop`."""

    current: ClassVar[Watch | None] = None  # the one that is on

    def __init__(self) -> None:
        self.record = Record()
        self.on = False
        self.errors: list[BaseException] = []
        self._undo: list[Callable[[], Any]] = []
        self._thread, self._process = threading.get_ident(), os.getpid()
        self.calls, self.losses, self.steps = Calls(self), Losses(self), Steps(self)
        self.loaders, self.keeping, self.schedules = Loaders(self), Keeping(self), Schedules(self)
        self.sensors = (self.steps, self.schedules, self.losses, self.calls, self.loaders, self.keeping)

    def start(self) -> None:
        Watch.current = Watch.current or self
        self._thread, self._process = threading.get_ident(), os.getpid()
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
                if torch.compiler.is_compiling() or not self.watching():
                    return original(*args, **kwargs)
                said = self.guarded(before, *args, **kwargs) if before else None
                result = original(*args, **kwargs)
                if after:
                    self.guarded(after, said, result, *args, **kwargs)
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
        return (
            self.on
            and threading.get_ident() == self._thread
            and os.getpid() == self._process
            and not torch.jit.is_tracing()
            and torch._C._functorch.maybe_current_level() is None  # pyright: ignore[reportAttributeAccessIssue]  # no public way
        )

    def guarded(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call our own code: nothing it does is watched, and an error of ours is counted, not raised."""
        was, self.on = self.on, False
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is, it is ours and not the script's
            self.record.own_errors[f"{type(error).__name__}: {error} in {function.__qualname__}"] += 1
            if len(self.errors) < 20:
                self.errors.append(error)
            return None
        finally:
            self.on = was

    def event(self, kind: str, of: int = -1, **facts: Any) -> Event:
        keeping = self.steps.keeps_events()
        event = Event(kind, sites.here() if keeping else None, of, facts)
        if keeping:
            self.steps.happened(event)
        return event
