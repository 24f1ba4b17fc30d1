"""Mean and spread, or quantiles, of training values, in float64 whatever the values were; and the way to float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from truestep.errors import InputError

SCALES = ("standard", "quantile")
MOST_KNOTS = 1000
OUTERMOST = 1e-7 - np.spacing(1)  # share beyond which a normal distribution is cut: about 5.2 deviations


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


def quantiles(values: np.ndarray) -> np.ndarray:
    """Return up to `MOST_KNOTS` evenly spaced quantiles, float64 in ascending order, of (N,) values without NaN."""
    values = np.sort(values)  # once: np.quantile would look for each of the thousand
    places = np.linspace(0, 1, min(MOST_KNOTS, len(values))) * (len(values) - 1)
    below = np.floor(places).astype(np.int64)
    lower, upper = values[below], values[np.minimum(below + 1, len(values) - 1)]
    found = lower + (upper - lower) * (places - below)
    return np.maximum.accumulate(found)  # rounding may put one a little before its neighbour


def to_normal(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return where values lie in a normal distribution, by their rank among the knots; NaN stays NaN.

    Between knots ranks are interpolated; a value that several knots share has the middle of their ranks.

    Args:
        values: (N,) float64.
        knots: (K,) quantiles of training values.
    """
    shares = np.linspace(0, 1, len(knots))
    ranks = np.interp(values, knots, shares)
    ranks = (ranks - np.interp(-values, -knots[::-1], -shares[::-1])) / 2
    ranks = np.where(values - 1e-7 < knots[0], 0.0, np.where(values + 1e-7 > knots[-1], 1.0, ranks))
    normal = torch.special.ndtri(torch.from_numpy(np.clip(ranks, OUTERMOST, 1 - OUTERMOST))).numpy()
    return np.where(np.isnan(values), np.nan, normal)


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
