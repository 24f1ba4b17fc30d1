"""Ctrl-C, SIGTERM, and the SIGUSR1 that job queues send ahead of their time limit: a run ends where it can be gone on with.

While a run says that it waits, the first signal is only noted, and the loop ends the run after its step. Otherwise, and at
the second one, it ends at once.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """Ends the program like Ctrl-C, which nothing that handles errors catches by mistake."""


class Signals:
    """What has come since `handled` began."""

    def __init__(self) -> None:
        self.received = 0  # the first signal's number
        self.last = int(signal.SIGINT)  # the last one's, also after the block
        self.waits = False  # whether whoever runs looks at `received` and stops by itself

    def _note(self, number: int, _frame: object) -> None:
        self.last = number
        if self.received or not self.waits:
            raise Stopped(f"stopped at once by {signal.Signals(number).name}")
        self.received = number

    @contextmanager
    def noted(self) -> Generator[None]:
        """Only note the first signal that comes in here."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False


_handled = Signals()


@contextmanager
def handled() -> Generator[Signals]:
    """Handle the signals until the end of the block; inside of another such block, they are handled already."""
    if signal.getsignal(signal.SIGTERM) == _handled._note or threading.current_thread() is not threading.main_thread():  # pyright: ignore[reportPrivateUsage]
        yield _handled  # only the main thread may handle signals
        return
    _handled.received = 0
    before = {number: signal.signal(number, _handled._note) for number in STOPPING}  # pyright: ignore[reportPrivateUsage]
    try:
        yield _handled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(number: int | None = None) -> int:
    """Return 130 after Ctrl-C, and 143 after what asks a job to end; by default of the last signal that came.

    The exception does not always say which it was: libraries written in C pass it on as a plain KeyboardInterrupt.
    """
    number = _handled.last if number is None else number
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def left_to_the_parent(_: int = 0) -> None:
    """Ignore the signals in a worker, which are sent to the whole group: the process that reads from it ends it."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
