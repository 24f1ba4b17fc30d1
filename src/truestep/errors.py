"""What can go wrong, one class per exit code.

    TruestepError            1   our own bugs only
      InputError             2   bad input or usage: where, what was expected, what was found, what to do
      RefusedError           3   damaged, untrusted, or not the same run
      NonFiniteError         4   numbers went NaN or infinite
      Interrupted      130/143   stopped by Ctrl-C or SIGTERM, after saving

A message is one line that a user can act on.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class TruestepError(Exception):
    """Any error that truestep raises on purpose."""

    exit_code = 1


class InputError(TruestepError, ValueError):
    """The user's files, arguments or data are not what they should be."""

    exit_code = 2


class RefusedError(TruestepError):
    """A file is damaged, untrusted, or belongs to another run; going on could be wrong."""

    exit_code = 3


class NonFiniteError(TruestepError, ArithmeticError):
    """A loss or gradient became NaN or infinite."""

    exit_code = 4
    steps_ago = 0  # updates, and batches, since then; a device that computes ahead is read late
    batches_ago = 0
    place: tuple[int, int, int] | None = None  # of the example to blame: its batch in the step, its row of so many
    evidence: dict[str, Any] | None = None  # what the step was computed from, where it is at hand


class Interrupted(TruestepError):  # noqa: N818  the run did as it was told
    """The run was asked to stop and saved what it had."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest of `known`, or an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
