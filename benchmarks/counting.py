"""Work counted instead of timed: the same on every machine, however busy. For `hops.py` and for the tests of the loop's cost."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Calls:
    """How often each Python function was entered between `begin` and `end`."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()  # by file and function

    def begin(self) -> None:
        gc.disable()  # whose callbacks come when they like
        sys.setprofile(self._profile)

    def end(self) -> None:
        sys.setprofile(None)
        gc.enable()
        self.found = Counter({place: count for place, count in self.found.items() if place[0] != __file__})

    def total(self, inside: str = "") -> int:
        """Return how many there were in files whose path holds these words."""
        return sum(count for (file, _), count in self.found.items() if inside in file)

    def _profile(self, frame: Any, event: str, _: object) -> None:
        if event == "call":
            self.found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1


class Operations(TorchDispatchMode):
    """How often PyTorch computed something, forward, backward and update, by the name of the operation."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))

    def begin(self) -> None:
        self.__enter__()

    def end(self) -> None:
        self.__exit__(None, None, None)

    def total(self) -> int:
        return self.found.total()
