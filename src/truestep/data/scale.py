"""Mean and spread of training values, in float64 whatever the values were, and the way to float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from truestep.errors import InputError


def mean_and_std(values: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the (F,) means and deviations of (N, F) values, leaving out NaN.

    The deviation of a column that never changes is 1: rounding would make it tiny, and the scaled values noise.
    A column without any value has mean 0.

    Raises:
        InputError: the sums overflow.
    """
    values = values.astype(np.float64)
    known = ~np.isnan(values)
    count = np.maximum(known.sum(0), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(known, values, 0).sum(0) / count
        std = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(0) / count)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise InputError(f"{where}: the numbers are too large to be scaled.")
    lowest = np.where(known, values, np.inf).min(0, initial=np.inf)
    highest = np.where(known, values, -np.inf).max(0, initial=-np.inf)
    return mean, np.where(lowest >= highest, 1.0, std)


def to_float32(values: np.ndarray, place: Callable[[int], str]) -> np.ndarray:
    """Return the values, finite or NaN, in float32.

    Raises:
        InputError: one is too large for it; `place` names its row.
    """
    with np.errstate(over="ignore"):
        converted = values.astype(np.float32)
    if (too_large := np.isinf(converted)).any():
        row = int(np.argwhere(too_large)[0][0])
        raise InputError(f"{place(row)}: expected numbers like those in training, found one too large for float32.")
    return converted
