"""Weights named by patterns, such as `stages.*`, `*.bias`, or the name of a module, which means all in it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern is for a weight of this name, or for a module that the weight is in."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def check_patterns(model: nn.Module, patterns: Iterable[str], where: str) -> None:
    """Raise InputError unless each pattern is for some weight of the model.

    Args:
        model: whose weights are meant.
        patterns: to look at.
        where: they were given, for the message.
    """
    names = [name for name, _ in model.named_parameters()]
    modules = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            tops = ", ".join(name for name, _ in model.named_children())
            hint = did_you_mean(pattern.rstrip(".*"), [*modules, *names]) or f" Known: {tops}."
            raise InputError(f"{where}: no weights are called '{pattern}'.{hint}")
