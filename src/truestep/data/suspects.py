"""Labels that are perhaps wrong: rows whose given target a model that never saw them finds hard to believe.

For people to look at, most doubtful first; nothing is changed or left out because of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import polars as pl
from torch import Tensor

from truestep.errors import InputError

MOST = 100  # rows to look at
ROWS = 1 << 16  # probabilities of so many are looked at together, so that what is made of them does not grow with all
MAD_TO_STD = 1.4826  # for a normal distribution
LEAST_DEVIATIONS = 3.5  # of a residual to be odd; Iglewicz and Hoaglin 1993, "How to detect and handle outliers"
EXPECTED_BY_CHANCE = 0.5  # rows of a normal distribution beyond the bound, where there are many rows


def suspects(
    predicted: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    rows: Tensor | np.ndarray | None = None,
    most: int = MOST,
) -> pl.DataFrame:
    """Return the rows whose given target is most doubtful, most doubtful first.

    Classes, after confident learning (Northcutt, Jiang and Chuang 2021): a class's threshold is the mean probability of it
    among the rows that are given it. Doubtful is a row whose given class is less probable than that class's threshold
    while another, more probable one reaches its own. Ordered by how much more probable that is.

    Numbers: doubtful is a row whose residual lies beyond a robust bound around the median of all: 3.5 deviations (from
    the median absolute deviation), more where there are so many rows that some lie there by chance.

    Args:
        predicted: of rows that the model was not trained on: (N, C) probabilities of classes, (N,) of the second of two,
            or with targets that are floating point numbers and without `class_names`, (N,) values in their units.
        targets: (N,) int64 classes, or (N,) numbers.
        class_names: in the order of the classes; left out, they are shown as numbers.
        rows: (N,) their row numbers in the source; left out, 0 to N - 1.
        most: rows to return.

    Returns:
        A frame with `row`, `given`, `predicted`, and `probability` of the predicted class; for numbers in its place
        `deviations`, the distance from the median residual.

    Raises:
        InputError: predictions and targets don't fit together, or are not finite.
    """
    predicted, targets = _array(predicted), _array(targets)
    rows = np.arange(len(targets)) if rows is None else _array(rows)
    if targets.ndim != 1 or predicted.ndim not in (1, 2) or not len(predicted) == len(targets) == len(rows):
        raise InputError(
            "suspects: expected one target and one row number for each prediction, "
            f"found shapes {predicted.shape}, {targets.shape} and {rows.shape}."
        )
    if not (np.isfinite(predicted).all() and np.isfinite(targets).all()):
        raise InputError("suspects: expected finite predictions and targets, found NaN or infinity.")
    if class_names is None and predicted.ndim == 1 and targets.dtype.kind == "f":
        return _odd_numbers(predicted.astype(np.float64), targets.astype(np.float64), rows, most)
    targets, num_classes = targets.astype(np.int64, copy=False), 2 if predicted.ndim == 1 else predicted.shape[1]
    if ((targets < 0) | (targets >= num_classes)).any() or (class_names and len(class_names) != num_classes):
        raise InputError(f"suspects: expected classes 0 to {num_classes - 1}, as many as probabilities, found others.")
    return _odd_classes(predicted, targets, rows, most, class_names)


def _odd_classes(
    probabilities: np.ndarray, given: np.ndarray, rows: np.ndarray, most: int, class_names: Sequence[str] | None
) -> pl.DataFrame:
    num_classes = probabilities.shape[1] if probabilities.ndim == 2 else 2
    pieces = [slice(start, start + ROWS) for start in range(0, max(len(given), 1), ROWS)]
    own = np.empty(len(given))
    for piece in pieces:
        own[piece] = np.take_along_axis(_of_each_class(probabilities[piece]), given[piece, None], 1)[:, 0]
    counts = np.bincount(given, minlength=num_classes)
    thresholds = np.bincount(given, own, minlength=num_classes) / np.maximum(counts, 1)
    thresholds[counts == 0] = np.inf  # a class that no row is given has no threshold to reach
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for piece in pieces:
        others = _of_each_class(probabilities[piece])
        others[others < thresholds] = -np.inf
        np.put_along_axis(others, given[piece, None], -np.inf, 1)
        best, highest = others.argmax(1), others.max(1)
        odd = np.flatnonzero((own[piece] < thresholds[given[piece]]) & (highest > own[piece]))
        found.append((odd + piece.start, best[odd], highest[odd]))
    doubtful, best, highest = map(np.concatenate, zip(*found, strict=True))
    order = np.lexsort((rows[doubtful], own[doubtful] - highest))[:most]
    doubtful, best = doubtful[order], best[order]
    names = pl.Series(range(num_classes) if class_names is None else list(class_names))
    return pl.DataFrame(
        {
            "row": rows[doubtful],
            "given": names.gather(given[doubtful]),
            "predicted": names.gather(best),
            "probability": highest[order],
        }
    )


def _of_each_class(probabilities: np.ndarray) -> np.ndarray:
    """(n, C) float64, a copy, also where only those of the second of two classes, (n,), are given."""
    wide = probabilities.astype(np.float64)
    return np.stack([1 - wide, wide], 1) if wide.ndim == 1 else wide


def _odd_numbers(values: np.ndarray, given: np.ndarray, rows: np.ndarray, most: int) -> pl.DataFrame:
    deviations = np.zeros(len(given))
    bound = LEAST_DEVIATIONS
    if len(given):
        residuals = given - values
        residuals -= np.median(residuals)
        spread = MAD_TO_STD * float(np.median(np.abs(residuals)))
        spread = spread or float(residuals.std())  # more than half of the residuals are one number
        deviations = residuals / (spread or 1.0)
        bound = max(bound, NormalDist().inv_cdf(1 - EXPECTED_BY_CHANCE / (2 * len(given)))) if len(given) > 1 else bound
    doubtful = np.flatnonzero(np.abs(deviations) > bound)
    doubtful = doubtful[np.lexsort((rows[doubtful], -np.abs(deviations[doubtful])))][:most]
    return pl.DataFrame(
        {
            "row": rows[doubtful],
            "given": given[doubtful],
            "predicted": values[doubtful],
            "deviations": deviations[doubtful],
        }
    )


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
