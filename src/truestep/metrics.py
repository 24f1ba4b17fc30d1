"""How well: numbers over a whole set of rows, equal to scikit-learn's to 1e-6.

Three kinds of things, in this order:

    functions      accuracy(predictions, targets), ...    all rows at once
    accumulators   MulticlassMetrics(10), ...             rows arrive in pieces; sums are kept and divided once, at the end
    RunningMean    the mean loss of an epoch              device scalars, without waiting for the device

What cannot be known is NaN: an accuracy over no rows, a ranking without positives, any number from a NaN.
Nothing is averaged over batches, so no number depends on how the rows were cut or on how many processes saw them.

Letters: N rows, C classes, L labels, K outputs, V tokens known, R resamples. Functions give () float64 on the CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from truestep.distributed import all_gather, all_rows, all_sum, world_size
from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    Average = Literal["macro", "weighted"]
    Numbers = dict[str, Tensor]

NUM_BINS = 15  # of the calibration error
_HIGHER_IS_BETTER = {
    "loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "top_5_accuracy": True,
    "token_accuracy": True,
    "subset_accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "f1_weighted": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "perplexity": False,
    "calibration_error": False,
    "rmse": False,
    "mae": False,
    "median_absolute_error": False,
    "r2": True,
}


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric `name` means a better model; `valid_` and `test_` in front are allowed."""
    metric = name.removeprefix("valid_").removeprefix("test_")
    if metric not in _HIGHER_IS_BETTER:
        known = ", ".join(_HIGHER_IS_BETTER)
        hint = did_you_mean(metric, _HIGHER_IS_BETTER)
        raise InputError(f"metric: expected one of {known}, found '{name}'.{hint}")
    return _HIGHER_IS_BETTER[metric]


# ---------------------------------------------------------------------------------------------------------------------
# Predicted classes
# ---------------------------------------------------------------------------------------------------------------------


def confusion_matrix(predictions: Tensor, targets: Tensor, num_classes: int | None = None) -> Tensor:
    """How often each class was taken for each other: row is the true class, column the predicted one.

    Args:
        predictions: (N,) int64 in [0, C).
        targets: (N,) int64 in [0, C).
        num_classes: C; by default one more than the largest class seen.

    Returns:
        (C, C) int64.
    """
    predictions, targets = _on_cpu(predictions), _on_cpu(targets)
    _check_shapes("confusion matrix", predictions, targets)
    classes = torch.cat([predictions, targets])
    if num_classes is None:
        num_classes = int(classes.max()) + 1 if len(classes) else 0
    _check_classes("confusion matrix", classes, num_classes)
    return _count_pairs(predictions, targets, num_classes)


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Share of rows whose class was predicted: () in [0, 1] from two (N,) int64."""
    return _class_numbers(*_margins(confusion_matrix(predictions, targets)))["accuracy"]


def balanced_accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean recall over the classes that occur in `targets`: () in [0, 1] from two (N,) int64."""
    return _class_numbers(*_margins(confusion_matrix(predictions, targets)))["balanced_accuracy"]


def precision(
    predictions: Tensor, targets: Tensor, average: Average | None = "macro", num_classes: int | None = None
) -> Tensor:
    """Share of the rows predicted as a class that are of this class; 0 for a class that is never predicted.

    Args:
        predictions: (N,) int64 in [0, C).
        targets: (N,) int64 in [0, C).
        average: "macro" is the plain mean over classes, "weighted" counts each by its rows in `targets`, None averages
            nothing. A class found neither in `predictions` nor in `targets` is NaN, and no average contains it.
        num_classes: C; by default one more than the largest class seen.

    Returns:
        () float64 in [0, 1], or (C,) for `average=None`.
    """
    return _average_rate("precision", confusion_matrix(predictions, targets, num_classes), average)


def recall(
    predictions: Tensor, targets: Tensor, average: Average | None = "macro", num_classes: int | None = None
) -> Tensor:
    """Share of the rows of a class that were predicted as this class; the rest is as for `precision`."""
    return _average_rate("recall", confusion_matrix(predictions, targets, num_classes), average)


def f1(
    predictions: Tensor, targets: Tensor, average: Average | None = "macro", num_classes: int | None = None
) -> Tensor:
    """Harmonic mean of precision and recall of a class; the rest is as for `precision`."""
    return _average_rate("f1", confusion_matrix(predictions, targets, num_classes), average)


def _count_pairs(predictions: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    # Integer counts, because CUDA adds floats up in no fixed order.
    return torch.bincount(targets * num_classes + predictions, minlength=num_classes**2).view(num_classes, num_classes)


def _margins(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hits, predicted and true rows of each class, three (C,) float64, from a confusion matrix (C, C)."""
    matrix = matrix.double()
    return matrix.diagonal(), matrix.sum(0), matrix.sum(1)


def _rates(hits: Tensor, predicted: Tensor, support: Tensor) -> Numbers:
    """Precision, recall and F1 of each class (..., C) from counts (..., C); NaN for a class that occurs nowhere."""
    occurs = predicted + support > 0
    return {
        "precision": (hits / predicted.clamp(min=1)).where(occurs, math.nan),
        "recall": (hits / support.clamp(min=1)).where(occurs, math.nan),
        "f1": (2 * hits / (predicted + support)).where(occurs, math.nan),
    }


def _average_rate(name: str, matrix: Tensor, average: Average | None) -> Tensor:
    hits, predicted, support = _margins(matrix)
    rates = _rates(hits, predicted, support)[name]
    if average is None:
        return rates
    return rates.nanmean() if average == "macro" else (rates * support).nansum() / support.sum()


def _class_numbers(hits: Tensor, predicted: Tensor, support: Tensor) -> Numbers:
    """Every number that follows from the confusion matrix: each (...) from counts (..., C)."""
    rates = _rates(hits, predicted, support)
    return {
        "accuracy": hits.sum(-1) / support.sum(-1),
        "balanced_accuracy": rates["recall"].where(support > 0, math.nan).nanmean(-1),
        **{name: rate.nanmean(-1) for name, rate in rates.items()},
        "f1_weighted": (rates["f1"] * support).nansum(-1) / support.sum(-1),
    }


# ---------------------------------------------------------------------------------------------------------------------
# Probabilities and scores
# ---------------------------------------------------------------------------------------------------------------------


def top_k_accuracy(scores: Tensor, targets: Tensor, k: int = 5) -> Tensor:
    """Share of rows whose class is among the k best scores; of equal scores the later class is taken first.

    Args:
        scores: (N, C) float; probabilities or logits.
        targets: (N,) int64 in [0, C).
        k: how many guesses are allowed.
    """
    scores, targets = _on_cpu(scores), _on_cpu(targets)
    _check_classes("top-k accuracy", targets, scores.shape[1])
    return _in_top(scores, targets, k).double().mean() + _nan_if_any(scores)


def log_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log(probability of what is true), in nats.

    Args:
        probabilities: (N, C), (N,) of class 1, or (N, L) of each label, in [0, 1]. They are clipped to [eps, 1 - eps] with
            the eps of their dtype, as scikit-learn does, so one sure mistake costs 16 nats in float32 and 36 in float64.
        targets: (N,) int64, or 0/1 of the same shape as `probabilities`. For (N, L) the mean is over rows and labels.
    """
    return _log_losses(_probability_of_truth(*_checked("log loss", probabilities, targets))).mean()


def expected_calibration_error(probabilities: Tensor, targets: Tensor, num_bins: int = NUM_BINS) -> Tensor:
    """Average gap between confidence and accuracy, weighted by how many rows fall in each bin of confidence.

    Args:
        probabilities: (N, C) in [0, 1], rows sum to 1; or (N,) of class 1. Not logits.
        targets: (N,) int64 in [0, C).
        num_bins: equal-width bins (low, high] of the largest probability.

    Returns:
        () float64 in [0, 1]; 0 is perfectly calibrated.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
    """
    probabilities, targets = _checked("calibration error", probabilities, targets)
    confidence, predictions = _both_classes(probabilities).max(1)
    return _gaps(confidence, predictions == targets, num_bins).sum(0).abs().sum() / len(targets)


def roc_auc(scores: Tensor, targets: Tensor) -> Tensor:
    """How likely a random row of a class is ranked above a random other row; ties count one half.

    Args:
        scores: (N,) of class 1, (N, C) or (N, L); any float that ranks.
        targets: (N,) 0/1 for (N,); (N,) int64 in [0, C) for (N, C), each class against the rest; (N, L) 0/1 for (N, L).

    Returns:
        () float64 in [0, 1], the plain mean over classes or labels; NaN if one of them has no positives or no negatives.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve".
    """
    return _areas(scores, targets)[0]


def average_precision(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean precision at the ranks where a positive row is found, without interpolation; arguments as for `roc_auc`.

    Returns:
        () float64 in [0, 1], the plain mean over classes or labels; NaN if one of them has no positives.
    """
    return _areas(scores, targets)[1]


def perplexity(mean_loss: float) -> float:
    """The number of equally likely tokens that would be as hard to guess: exp of the mean loss in nats."""
    return math.exp(mean_loss) if mean_loss < 709 else mean_loss * math.inf  # where exp leaves float64


def _in_top(scores: Tensor, targets: Tensor, k: int) -> Tensor:
    classes, targets = torch.arange(scores.shape[1], device=scores.device), targets[:, None]
    own = scores.gather(1, targets)
    return ((scores > own) | ((scores == own) & (classes > targets))).sum(1) < k


def _probability_of_truth(probabilities: Tensor, targets: Tensor) -> Tensor:
    """(N,), or (N, L) for labels."""
    if probabilities.shape == targets.shape:
        return torch.where(targets > 0, probabilities, 1 - probabilities)
    return probabilities.gather(1, targets[:, None]).squeeze(1)


def _log_losses(probability_of_truth: Tensor) -> Tensor:
    eps = torch.finfo(probability_of_truth.dtype).eps
    return -probability_of_truth.clamp(eps, 1 - eps).double().log()


def _both_classes(probabilities: Tensor) -> Tensor:
    """(N, C) as it is; (N,) of class 1 as (N, 2)."""
    return probabilities if probabilities.ndim == 2 else torch.stack([1 - probabilities, probabilities], 1)


def _gaps(confidence: Tensor, correct: Tensor, num_bins: int = NUM_BINS) -> Tensor:
    """(N, bins): confidence minus correctness of each row, in the column of its bin; 0 elsewhere."""
    confidence = confidence.double()
    bins = ((confidence * num_bins).ceil() - 1).clamp(0, num_bins - 1)
    return (bins[:, None] == torch.arange(num_bins, device=bins.device)) * (confidence - correct.double())[:, None]


class _Ranking:
    """The rows in descending order of score, cut into steps of equal score, of which only those with positives matter.

    Sorted once, because an area under the curve is then a few cumulative sums of the weights of the rows.
    """

    def __init__(self, scores: Tensor, positive: Tensor) -> None:
        self.order = scores.argsort(descending=True)
        _, step_of_row, sizes = scores[self.order].unique_consecutive(return_inverse=True, return_counts=True)
        self.positives = positive[self.order].nonzero().squeeze(1)
        steps, positives_in_step = step_of_row[self.positives].unique_consecutive(return_counts=True)
        self.ends = sizes.cumsum(0)[steps]
        self.begins = self.ends - sizes[steps]
        self.found_at = F.pad(positives_in_step.cumsum(0), (1, 0))

    def areas(self, weights: Tensor) -> Tensor:
        """(2, R): area under the ROC curve and average precision, from whole-number weights (R, N) of the rows."""
        ordered = weights.index_select(1, self.order)
        passed = F.pad(ordered.cumsum(1, dtype=torch.float64), (1, 0))
        found = F.pad(ordered.index_select(1, self.positives).cumsum(1, dtype=torch.float64), (1, 0))
        found = found.index_select(1, self.found_at)  # before the first step, then after each
        before, after = passed.index_select(1, self.begins), passed.index_select(1, self.ends)
        gained, wrong_twice = found.diff(), before + after - found[:, :-1] - found[:, 1:]
        positives, total = found[:, -1], passed[:, -1]
        roc = 1 - (gained * wrong_twice).sum(1) / (2 * positives * (total - positives))
        return torch.stack([roc, (gained * found[:, 1:] / after.clamp(min=1)).sum(1) / positives])


def _rankings(scores: Tensor, targets: Tensor) -> list[_Ranking]:
    if scores.shape == targets.shape:
        scores, positive = scores.view(len(scores), -1), targets.view(len(targets), -1) > 0
    else:
        positive = targets[:, None] == torch.arange(scores.shape[1])
    return [_Ranking(*column) for column in zip(scores.unbind(1), positive.unbind(1), strict=True)]


def _mean_areas(rankings: list[_Ranking], weights: Tensor) -> Tensor:
    """(2, R): the means over classes of what `_Ranking.areas` gives."""
    return torch.stack([ranking.areas(weights) for ranking in rankings]).mean(0)


def _areas(scores: Tensor, targets: Tensor) -> Tensor:
    scores, targets = _on_cpu(scores), _on_cpu(targets)
    if scores.ndim != 2 or targets.ndim != 1:
        _check_shapes("ranking", scores, targets)
    return _mean_areas(_rankings(scores, targets), torch.ones(1, len(targets))).squeeze(1) + _nan_if_any(scores)


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------


def rmse(values: Tensor, targets: Tensor) -> Tensor:
    """Root of the mean squared error, in the targets' unit: from two (N,), or two (N, K) and then the mean over outputs."""
    return _value_numbers(_moments("rmse", values, targets))["rmse"]


def mae(values: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error, in the targets' unit: from two (N,), or two (N, K) and then the mean over outputs."""
    return _value_numbers(_moments("mae", values, targets))["mae"]


def r2(values: Tensor, targets: Tensor) -> Tensor:
    """Share of the targets' variance that `values` explain: at most 1; 0 is what always saying the mean would reach.

    Args:
        values: (N,), or (N, K) and then the mean over outputs.
        targets: as `values`.

    Returns:
        () float64; NaN where all targets of an output are equal, since there is nothing to explain.
    """
    return _value_numbers(_moments("r2", values, targets))["r2"]


def median_absolute_error(values: Tensor, targets: Tensor) -> Tensor:
    """Half of the errors are smaller than this: from two (N,), or two (N, K) and then the mean over outputs."""
    values, targets = _on_cpu(values), _on_cpu(targets)
    _check_shapes("median absolute error", values, targets)
    errors = _columns(values.double() - targets.double()).abs()
    return _weighted_medians(*errors.sort(0), torch.ones(1, len(errors))).squeeze(0)


def _columns(tensor: Tensor) -> Tensor:
    """(N, K) as it is; (N,) as (N, 1)."""
    return tensor if tensor.ndim == 2 else tensor[:, None]


def _moments(where: str, values: Tensor, targets: Tensor) -> Tensor:
    """(K, 5) float64: number of rows, mean and centred sum of squares of the targets, squared and absolute errors."""
    _check_shapes(where, values, targets)
    values, targets = _columns(_widest(values).double()), _columns(_widest(targets).double())
    errors, origin = values - targets, targets[:1].sum(0)
    # Seen from the first target, so that equal targets have a spread of exactly 0, however they are rounded.
    offsets = targets - origin
    mean = offsets.sum(0) / max(len(targets), 1)
    count = torch.full_like(mean, len(targets))
    spread = (offsets - mean).square().sum(0)
    return torch.stack([count, origin + mean, spread, errors.square().sum(0), errors.abs().sum(0)], 1).cpu()


def _merge_moments(first: Tensor, second: Tensor) -> Tensor:
    """The moments of two sets of rows together. Source: Chan, Golub and LeVeque 1983, eq. 1.5."""
    (count, mean, spread, *_), (more, its_mean, its_spread, *_) = first.unbind(1), second.unbind(1)
    merged, shift, share = first + second, its_mean - mean, more / (count + more).clamp(min=1)
    merged[:, 1] = mean + shift * share
    merged[:, 2] = spread + its_spread + shift.square() * count * share
    return merged


def _value_numbers(moments: Tensor) -> Numbers:
    """Each (...) from moments (..., K, 5)."""
    count, _, spread, squares, absolutes = moments.unbind(-1)
    return {
        "rmse": (squares / count).sqrt().mean(-1),
        "mae": (absolutes / count).mean(-1),
        "r2": (1 - squares / spread.where(spread > 0, math.nan)).mean(-1),
    }


def _weighted_medians(errors: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """(R,): mean over outputs of the median of sorted `errors` (N, K), from weights (R, N) of the rows with equal sums."""
    total = int(weights[0].sum())
    if total == 0:
        return torch.full((len(weights),), math.nan, dtype=torch.float64)
    middle = torch.tensor([(total + 1) // 2, total // 2 + 1], dtype=torch.float64).expand(len(weights), 2).contiguous()
    medians = [
        column[torch.searchsorted(weights.index_select(1, rows).cumsum(1, dtype=torch.float64), middle)].mean(1)
        for column, rows in zip(errors.unbind(1), order.unbind(1), strict=True)
    ]
    return torch.stack(medians).mean(0) + _nan_if_any(errors)


# ---------------------------------------------------------------------------------------------------------------------
# Accumulators
# ---------------------------------------------------------------------------------------------------------------------


class Metrics(ABC):
    """The numbers of one task over rows that arrive in pieces; the same numbers however the rows are cut.

    `update` adds a piece, `gather` adds the other processes once at the end, `compute` says how well. What is kept does
    not grow with the rows, unless `keep_rows` asks for the metrics that need them all.
    """

    def __init__(self, state: Tensor, *, keep_rows: bool = False) -> None:
        self._state = state
        self._keep_rows = keep_rows
        self._rows: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add rows, from any device. Reads from the device once, so pass large pieces.

        Args:
            outputs: probabilities or values, with the shape that the class names.
            targets: as the class names.
        """
        outputs, targets = _widest(outputs), _widest(targets)
        self._check(outputs, targets)
        if targets.numel() == 0:
            return
        self._state = self._merge(self._state, self._count(outputs, targets).cpu())
        if self._keep_rows:  # copies, because the caller may reuse its memory
            self._rows.append((outputs.to("cpu", copy=True), targets.to("cpu", copy=True)))

    def gather(self) -> None:
        """Add up what all processes saw, so that each has the numbers of all rows. Call it once, after the last update."""
        if world_size() == 1:
            return
        self._state = reduce(self._merge, all_gather(self._state))
        if self._keep_rows:
            # Flat and in float64, so that a process that saw no rows need not know their shape.
            outputs, targets = self._kept_rows()
            count = int(all_sum(torch.tensor(len(targets))))
            columns = [all_rows(rows.double().flatten()) for rows in (outputs, targets)]
            self._rows = [tuple(rows.view(count, -1) for rows in columns)] if count else []  # pyright: ignore[reportAttributeAccessIssue]  # a pair

    def compute(self) -> dict[str, float]:
        """The headline numbers, the most telling first."""
        return {name: float(value) for name, value in self._numbers().items()}

    def details(self) -> dict[str, Any]:
        """What stands behind the headline, ready for JSON."""
        return {}

    def intervals(self, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """How far each headline number would move on another set of as many rows: percentile bootstrap intervals.

        Numbers that follow from a kept count are always there; the others only with `keep_rows`. A resample in which a
        number is not defined, such as one without a rare class, is left out for this number.

        Args:
            resamples: how many sets to draw, with replacement. Numbers that need rows draw fewer, but at least 100, when
                rows times classes exceed 200,000: `200_000_000 // (N * C)`.
            seed: of a generator of its own.
            level: share of the sets that lie within the interval.

        Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
        """
        rng = np.random.default_rng(seed)
        numbers = self._numbers()
        draws = self._resample_counts(resamples, rng)
        if self._rows:
            draws |= self._resample_rows(resamples, rng)
        tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        bounds = {name: draws[name].nanquantile(tails) for name in numbers if name in draws}
        # A number that is NaN has no interval: NaN too, also where some resample happened to be defined.
        return {name: (float(low), float(high)) for name, (low, high) in _hide_undefined(bounds, numbers).items()}

    @abstractmethod
    def _check(self, outputs: Tensor, targets: Tensor) -> None: ...

    @abstractmethod
    def _count(self, outputs: Tensor, targets: Tensor) -> Tensor: ...

    @abstractmethod
    def _numbers(self) -> Numbers: ...
