"""Which rows are for training, which for choosing, and which for the last word."""

from __future__ import annotations

import torch
from torch import Tensor

from truestep.errors import InputError

LEAST_ROWS = 3  # a class with fewer can't be in all three splits: training gets them


def check_fractions(valid: float, test: float) -> None:
    """Refuse fractions that are negative or leave nothing to train on."""
    for name, fraction in (("valid", valid), ("test", test)):
        if not 0 <= fraction < 1:
            raise InputError(f"{name}: expected a share of the rows, at least 0 and below 1, found {fraction:g}.")
    if valid + test >= 1:
        raise InputError(f"valid + test: expected less than 1, found {valid + test:g}; nothing is left to train on.")


def split_rows(
    num_rows: int, classes: Tensor | None = None, valid: float = 0.15, test: float = 0.15, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row numbers of train, valid and test, (n,) int64, each in ascending order.

    With classes, every split has them in the same shares, to less than one row where that is possible: shares are cut
    by largest remainder; a class with 3 rows or more has one in every split, one with fewer is all in train.

    Args:
        num_rows: rows there are.
        classes: (num_rows,) int64, or None to split regardless.
        valid: share of the rows, 0 for none.
        test: share of the rows, 0 for none.
        seed: of the draw, by a generator of its own.

    Raises:
        InputError: a share is impossible, or there are too few rows for it.
    """
    check_fractions(valid, test)
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    if classes is None:
        sizes = [num_rows]
    else:
        order = order[classes[order].argsort(stable=True)]
        sizes = [int(size) for size in classes.bincount() if size]
    num_valid, num_test = _shares(sizes, valid), _shares(sizes, test)
    belongs = torch.zeros(num_rows, dtype=torch.int64)  # to train
    start = 0
    for size, v, t in zip(sizes, num_valid, num_test, strict=True):
        while v + t >= size > 0:  # one row of a class must be left to train on
            v, t = (v - 1, t) if v > t else (v, t - 1)  # noqa: PLW2901
        belongs[order[start : start + v]] = 1
        belongs[order[start + v : start + v + t]] = 2
        start += size
    splits = [(belongs == split).nonzero()[:, 0] for split in range(3)]
    for name, fraction, rows in zip(("train", "valid", "test"), (1, valid, test), splits, strict=True):
        if fraction and not len(rows):
            raise InputError(f"{name}: expected at least one row, found none; {num_rows} rows are too few to be split.")
    return splits[0], splits[1], splits[2]


def _shares(sizes: list[int], fraction: float) -> list[int]:
    """Return how many rows of each class make `fraction` of all: whole rows first, the rest by largest remainder."""
    quotas = [size * fraction if size >= LEAST_ROWS else 0.0 for size in sizes]
    counts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda index: counts[index] - quotas[index])
    for index in by_remainder[: round(sum(quotas)) - sum(counts)]:
        counts[index] += 1
    return [max(count, 1) if quota else 0 for count, quota in zip(counts, quotas, strict=True)]
