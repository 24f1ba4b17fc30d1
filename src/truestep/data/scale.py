"""Mean and spread of training values, in float64 whatever the values were."""

from __future__ import annotations

import numpy as np


def mean_and_std(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (F,) means and deviations of (N, F) values, leaving out NaN.

    The deviation of a column that never changes is 1: rounding would make it tiny, and the scaled values noise.
    A column without any value has mean 0.
    """
    values = values.astype(np.float64)
    known = ~np.isnan(values)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values, 0).sum(0) / count
    std = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(0) / count)
    lowest = np.where(known, values, np.inf).min(0, initial=np.inf)
    highest = np.where(known, values, -np.inf).max(0, initial=-np.inf)
    return mean, np.where(lowest >= highest, 1.0, std)
