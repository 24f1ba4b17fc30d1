"""What a person sees while training: a line for each epoch that stays, and on a terminal a bar below it.

Everything goes to stderr. The bar is drawn a few times a second at most, however fast the steps are.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Protocol, Self

from truestep import distributed

REDRAW_SECONDS = 0.25
QUIET_SECONDS, LOG_SECONDS = 1.0, 10.0  # before a counter shows anything; between its lines in a log
COLUMNS = 1  # validation metrics shown besides the loss; metrics.jsonl has them all


class Position(Protocol):
    epoch: int
    batch: int
    seconds: float


@dataclass
class _Place:
    epoch: int
    batch: int
    seconds: float


class Display:
    """Shows the epochs of a run; used in a `with`.

    Args:
        epochs: planned.
        batches: of an epoch, for the bar; their number is shown if they know it.
        enabled: whether to show anything; only the first of several processes does.
    """

    def __init__(self, epochs: int, batches: object, *, enabled: bool = True) -> None:
        self.epochs, self.enabled = epochs, enabled and distributed.is_main()
        self.batches = len(batches) if isinstance(batches, Sized) else 0
        self.examples = getattr(batches, "num_examples", 0)
        self.bar: Any = None
        self.columns: list[str] = []
        self.due = math.inf  # seconds of training at which the bar is next drawn

    def __enter__(self) -> Self:
        if self.enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f}%  {task.fields[speed]}  left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                auto_refresh=False,  # its thread would compete with a small model for the processor
            )
            self.task = self.bar.add_task("", total=self.epochs * self.batches or None, epoch="", speed="")
            self.bar.start()
            self.due = 0.0
        self.begun, self.first = time.monotonic(), None
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def follow(self, batches: Iterable[Any], epoch: int = 0, start: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch, from the `start`-th on, and draw the bar meanwhile: for a loop of one's own."""
        for number, batch in enumerate(batches, start):
            yield batch
            seconds = time.monotonic() - self.begun
            if seconds > self.due:
                self.advance(_Place(epoch, number + 1, seconds))

    def advance(self, position: Position) -> None:
        """Draw the bar."""
        done = position.epoch * self.batches + position.batch
        if self.first is None:
            self.first = done  # a resumed run has not done these here
        rate = (done - self.first) / max(time.monotonic() - self.begun, 1e-9)
        if self.examples and self.batches:
            speed = f"{rate * self.examples / self.batches:,.0f} examples/s"
        else:
            speed = f"{rate:,.1f} batches/s"
        epoch = f"{position.epoch + 1}/{self.epochs}"
        self.bar.update(self.task, completed=done, epoch=epoch, speed=speed, refresh=True)
        self.due = position.seconds + REDRAW_SECONDS

    def epoch(self, row: Mapping[str, Any], *, improved: bool = False) -> None:
        """Print the line of an epoch, and before the first one the names of the columns.

        Args:
            row: its number from 1, "epoch"; and its figures, of which "train_loss", "valid_loss", one more of validation
                and "lr" are shown. Without "seconds", those since the beginning.
            improved: whether it is the best so far.
        """
        if not self.enabled:
            return
        if not self.columns:
            names = [name for name in row if name.startswith("valid_") and name != "valid_loss"][:COLUMNS]
            self.columns = [*(name for name in ("train_loss", "valid_loss") if name in row), *names]
            lr = [f"{'lr':>9}"] if "lr" in row else []
            self._print("  ".join(["  epoch", *(f"{name:>14}" for name in self.columns), *lr, "   time"]))
        best = "  best" if improved else ""
        figures = [f"{digits(row[name]):>{max(14, len(name))}}" for name in self.columns]
        figures += [f"{row['lr']:>9.2e}"] if "lr" in row else []
        seconds = row.get("seconds", time.monotonic() - self.begun)
        self._print("  ".join([f"{row['epoch']:>7}", *figures, f"{seconds:>6.1f}s"]) + best)

    def _print(self, line: str) -> None:
        if self.bar:
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)


class Counter:
    """Shows how many files are read, where that takes long; it is called with (done, total).

    Args:
        what: is done, in a word.
        enabled: whether to show anything.
    """

    def __init__(self, what: str, *, enabled: bool = True) -> None:
        self.what, self.enabled, self.due, self.shown = what, enabled, math.inf, False

    def __enter__(self) -> Self:
        self.due = time.monotonic() + QUIET_SECONDS
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown and sys.stderr.isatty():
            print(file=sys.stderr)

    def __call__(self, done: int, total: int) -> None:
        if not self.enabled or time.monotonic() < self.due:
            return
        live = sys.stderr.isatty()
        self.due, self.shown = time.monotonic() + (REDRAW_SECONDS if live else LOG_SECONDS), True
        print(f"{self.what} {done:,} of {total:,}", end="\r" if live else "\n", file=sys.stderr, flush=True)


def digits(value: float) -> str:
    """Return a figure with the digits that matter, and no twenty before the point."""
    return f"{value:.4f}" if math.isnan(value) or abs(value) < 1e6 else f"{value:.4e}"
