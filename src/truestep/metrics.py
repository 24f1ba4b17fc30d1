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
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from truestep.distributed import all_gather, all_rows, all_sum, world_size
from truestep.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    Average = Literal["macro", "weighted"]
    Numbers = dict[str, Tensor]
    WeighRows = Callable[[Tensor, Tensor], Callable[[Tensor], Numbers]]

NUM_BINS = 15  # of the calibration error
ROWS = 1 << 16  # looked at together, so that what is made of them on the way does not grow with all
_SHARES = [
    "accuracy",
    "balanced_accuracy",
    "top_5_accuracy",
    "token_accuracy",
    "subset_accuracy",
    "precision",
    "recall",
]
_HIGHER = [*_SHARES, "f1", "f1_weighted", "roc_auc", "average_precision", "r2"]
_LOWER = ["loss", "log_loss", "perplexity", "calibration_error", "rmse", "mae", "median_absolute_error"]
NEED_ROWS = frozenset({"roc_auc", "average_precision", "median_absolute_error"})  # known only from all rows at once


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric `name` means a better model; `valid_` and `test_` in front are allowed."""
    metric = name.removeprefix("valid_").removeprefix("test_")
    if metric not in (known := [*_HIGHER, *_LOWER]):
        hint = did_you_mean(metric, known)
        raise InputError(f"metric: expected one of {', '.join(known)}, found '{name}'.{hint}")
    return metric in _HIGHER


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
    predictions, targets = _on_cpu(predictions), _on_cpu(targets)
    _check_shapes("accuracy", predictions, targets)
    return (predictions == targets).double().mean()


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
    pairs = targets.long() * num_classes + predictions
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


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


def _binary_numbers(hits: Tensor, predicted: Tensor, support: Tensor) -> Numbers:
    """As `_class_numbers` from counts (..., 2), but precision, recall and F1 are those of class 1."""
    numbers = _class_numbers(hits, predicted, support)
    rates = {name: rate[..., 1] for name, rate in _rates(hits, predicted, support).items()}
    return {"accuracy": numbers["accuracy"], "balanced_accuracy": numbers["balanced_accuracy"], **rates}


def _table(hits: Tensor, predicted: Tensor, support: Tensor) -> list[dict[str, float]]:
    rates = _rates(hits, predicted, support)
    columns = {**{name: rate.tolist() for name, rate in rates.items()}, "support": support.long().tolist()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


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
    _check_rows("top-k accuracy", scores, targets)
    _check_classes("top-k accuracy", targets, scores.shape[1])
    return _in_top(scores, targets, k).double().mean() + _nan_if_any(scores)


def log_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log(probability of what is true), in nats.

    Args:
        probabilities: (N, C), (N,) of class 1, or (N, L) of each label, in [0, 1]. They are clipped to [eps, 1 - eps] with
            the eps of their dtype, as scikit-learn does, so one sure mistake costs 16 nats in float32 and 36 in float64.
        targets: (N,) int64, or 0/1 of the same shape as `probabilities`. For (N, L) the mean is over rows and labels.
    """
    probabilities, targets = _on_cpu(probabilities), _on_cpu(targets)
    _check_probabilities("log loss", probabilities, targets)
    return _log_losses(probabilities, targets).mean() + _nan_if_any(probabilities)


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
    probabilities, targets = _on_cpu(probabilities), _on_cpu(targets)
    _check_probabilities("calibration error", probabilities, targets)
    sums = [_binned_gaps(probabilities[rows], targets[rows], num_bins).sum(0) for rows in _spans(len(targets))]
    return torch.stack(sums).sum(0).abs().sum() / len(targets)


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
    return float(torch.tensor(mean_loss, dtype=torch.float64).exp())  # math.exp would raise where this is infinite


def _in_top(scores: Tensor, targets: Tensor, k: int) -> Tensor:
    classes, targets = torch.arange(scores.shape[1], device=scores.device), targets.long()[:, None]
    own = scores.gather(1, targets)
    return ((scores > own) | ((scores == own) & (classes > targets))).sum(1) < k


def _log_losses(probabilities: Tensor, targets: Tensor) -> Tensor:
    """(N,) float64, or (N, L) for labels."""
    if probabilities.shape == targets.shape:
        likelihood = torch.where(targets > 0, probabilities, 1 - probabilities)
    else:
        likelihood = probabilities.gather(1, targets.long()[:, None]).squeeze(1)
    eps = torch.finfo(likelihood.dtype).eps
    return -likelihood.clamp(eps, 1 - eps).double().log()


def _both_classes(probabilities: Tensor) -> Tensor:
    """(N, C) as it is; (N,) of class 1 as (N, 2)."""
    return probabilities if probabilities.ndim == 2 else torch.stack([1 - probabilities, probabilities], 1)


def _gaps(probabilities: Tensor, targets: Tensor, num_bins: int = NUM_BINS) -> tuple[Tensor, Tensor]:
    """Confidence minus correctness of each row, (N,) float64, and the bin of its confidence, (N,) int64; NaN is in the first."""
    confidence, predictions = _both_classes(probabilities).max(1)
    confidence = confidence.double()
    bins = ((confidence * num_bins).ceil() - 1).clamp(0, num_bins - 1)
    return confidence - (predictions == targets).double(), bins.nan_to_num().long()


def _binned_gaps(probabilities: Tensor, targets: Tensor, num_bins: int = NUM_BINS) -> Tensor:
    """(N, bins): the gap of each row in the column of its bin, 0 elsewhere; summed on a GPU in an order that is fixed."""
    gaps, bins = _gaps(probabilities, targets, num_bins)
    return gaps[:, None].where(bins[:, None] == torch.arange(num_bins, device=bins.device), 0.0)


class _Ranking:
    """The rows in descending order of score, cut into steps of equal score, of which only those with positives matter.

    Sorted once, because an area under the curve is then a few cumulative sums of the weights of the rows. These are made
    a piece at a time; a piece ends where a step does.
    """

    def __init__(self, scores: Tensor, positive: Tensor) -> None:
        self.nan = _nan_if_any(scores)
        self.pieces: list[tuple[Tensor, ...]] = []
        scores, order = scores.sort(descending=True)
        last = (scores[1:] != scores[:-1]).nonzero().squeeze(1)  # of each step but the last
        ends = F.pad(last, (0, 1), value=len(scores) - 1).add_(1)
        narrow = torch.int32 if len(scores) < 1 << 31 else torch.int64
        cuts = ends[torch.searchsorted(ends, torch.tensor([*range(ROWS, len(scores), ROWS), len(scores)]))]
        for start, end in pairwise([0, *cuts.unique_consecutive().tolist()]):
            rows, first = order[start:end], int(torch.searchsorted(ends, start, right=True))
            steps_end = ends[first : int(torch.searchsorted(ends, end, right=True))] - start
            positives = positive[rows].nonzero().squeeze(1)
            steps, found = torch.searchsorted(steps_end, positives, right=True).unique_consecutive(return_counts=True)
            begins, found_at = F.pad(steps_end, (1, 0))[steps], F.pad(found.cumsum(0), (1, 0))
            piece = rows, positives, begins, steps_end[steps], found_at
            self.pieces.append(tuple(places.to(narrow) for places in piece))

    def areas(self, weights: Tensor) -> Tensor:
        """(2, R): area under the ROC curve and average precision, from whole-number weights (R, N) of the rows."""
        total = positives = torch.zeros(len(weights), 1, dtype=torch.float64)  # in the pieces so far
        wrong_twice = precision = torch.zeros(len(weights), dtype=torch.float64)
        for rows, positive, begins, ends, found_at in self.pieces:
            ordered = weights.index_select(1, rows)
            passed = F.pad(ordered.cumsum(1, dtype=torch.float64), (1, 0)) + total
            found = F.pad(ordered.index_select(1, positive).cumsum(1, dtype=torch.float64), (1, 0)) + positives
            found = found.index_select(1, found_at)  # before the first step, then after each
            before, after = passed.index_select(1, begins), passed.index_select(1, ends)
            gained = found.diff()
            wrong_twice = wrong_twice + (gained * (before + after - found[:, :-1] - found[:, 1:])).sum(1)
            precision = precision + (gained * found[:, 1:] / after.clamp(min=1)).sum(1)
            total, positives = passed[:, -1:], found[:, -1:]
        total, positives = total.squeeze(1), positives.squeeze(1)
        roc = 1 - wrong_twice / (2 * positives * (total - positives))
        return torch.stack([roc, precision / positives]) + self.nan


def _rankings(scores: Tensor, targets: Tensor) -> list[_Ranking]:
    if scores.shape == targets.shape:
        scores, targets = _columns(scores), _columns(targets)
        return [_Ranking(scores[:, index], targets[:, index] > 0) for index in range(scores.shape[1])]
    return [_Ranking(scores[:, index], targets == index) for index in range(scores.shape[1])]


def _mean_areas(rankings: list[_Ranking], weights: Tensor) -> Tensor:
    """(2, R): the means over classes of what `_Ranking.areas` gives."""
    return torch.stack([ranking.areas(weights) for ranking in rankings]).mean(0)


def _areas(scores: Tensor, targets: Tensor) -> Tensor:
    scores, targets = _on_cpu(scores), _on_cpu(targets)
    _check_rows("ranking", scores, targets)
    return _mean_areas(_rankings(scores, targets), torch.ones(1, len(targets))).squeeze(1)


def _label_columns(probabilities: Tensor, targets: Tensor) -> Tensor:
    """(N, 3 L + 4): per label a hit, a prediction and a truth; all labels right, how many are, mean loss, 1."""
    probabilities, targets = _columns(probabilities), _columns(targets)
    predictions, truth = probabilities > 0.5, targets > 0
    right = predictions == truth
    losses = _log_losses(probabilities, targets).mean(1)
    rows = torch.stack([right.all(1).double(), right.double().sum(1), losses, torch.ones_like(losses)], 1)
    return torch.cat([(predictions & truth).double(), predictions.double(), truth.double(), rows], 1)


def _label_numbers(sums: Tensor) -> Numbers:
    """Each (...) from sums (..., 3 L + 4) of `_label_columns`."""
    exact, right, loss, count = sums[..., -4:].unbind(-1)
    rates = {name: rate.nanmean(-1) for name, rate in _rates(*_label_counts(sums)).items()}
    labels = (sums.shape[-1] - 4) // 3
    shares = {"accuracy": right / (count * labels), "subset_accuracy": exact / count, "log_loss": loss / count}
    # 0 * loss: a NaN probability is NaN in the loss, and makes every number NaN rather than some.
    return {name: number + 0 * loss for name, number in {"f1": rates.pop("f1"), **rates, **shares}.items()}


def _label_counts(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    hits, predicted, support = sums[..., :-4].chunk(3, -1)
    return hits, predicted, support


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------


def rmse(values: Tensor, targets: Tensor) -> Tensor:
    """Root of the mean squared error, in the targets' unit: from two (N,), or two (N, K) and then the mean over outputs."""
    return _value_numbers(_moments(values, targets))["rmse"]


def mae(values: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error, in the targets' unit: from two (N,), or two (N, K) and then the mean over outputs."""
    return _value_numbers(_moments(values, targets))["mae"]


def r2(values: Tensor, targets: Tensor) -> Tensor:
    """Share of the targets' variance that `values` explain: at most 1; 0 is what always saying the mean would reach.

    Args:
        values: (N,), or (N, K) and then the mean over outputs.
        targets: as `values`.

    Returns:
        () float64; NaN where all targets of an output are equal, since there is nothing to explain.
    """
    return _value_numbers(_moments(values, targets))["r2"]


def median_absolute_error(values: Tensor, targets: Tensor) -> Tensor:
    """Half of the errors are smaller than this: from two (N,), or two (N, K) and then the mean over outputs."""
    values, targets = _on_cpu(values), _on_cpu(targets)
    _check_shapes("median absolute error", values, targets)
    errors = _columns(values.double() - targets.double()).abs()
    return _weighted_medians(*errors.sort(0), torch.ones(1, len(errors))).squeeze(0)


def _columns(tensor: Tensor) -> Tensor:
    """(N, K) as it is; (N,) as (N, 1)."""
    return tensor if tensor.ndim == 2 else tensor[:, None]


def _moments(values: Tensor, targets: Tensor) -> Tensor:
    """(K, 5) float64: number of rows, mean and centred sum of squares of the targets, squared and absolute errors."""
    _check_shapes("errors", values, targets)
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
    medians: list[Tensor] = []
    for column, ranked in zip(errors.unbind(1), order.unbind(1), strict=True):
        passed, places = torch.zeros(len(weights), 1, dtype=torch.float64), torch.zeros_like(middle, dtype=torch.int64)
        for rows in _spans(len(ranked)):
            sums = weights.index_select(1, ranked[rows]).cumsum(1, dtype=torch.float64) + passed
            places += torch.searchsorted(sums, middle)  # all of a piece that comes before the middle
            passed = sums[:, -1:]
        medians.append(column[places].mean(1))
    return torch.stack(medians).mean(0) + _nan_if_any(errors)


# ---------------------------------------------------------------------------------------------------------------------
# Accumulators
# ---------------------------------------------------------------------------------------------------------------------


class Metrics(ABC):
    """The numbers of one task over rows that arrive in pieces; the same numbers however the rows are cut.

    `update` adds a piece, `gather` adds the other processes, `compute` says how well. What is kept does not grow with
    the rows, unless `keep_rows` asks for the numbers that need them all.
    """

    def __init__(
        self, state: Tensor, weigh_rows: WeighRows | None, merge: Callable[[Tensor, Tensor], Tensor] = torch.add
    ) -> None:
        self._state, self._merge, self._weigh_rows = state, merge, weigh_rows
        self._rows: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add rows from any device, with the shapes that the class names; it waits for the device, so pass many at once."""
        outputs, targets = _widest(outputs), _widest(targets)
        self._check(outputs, targets)
        if targets.numel() == 0:
            return
        for rows in _spans(len(targets)):
            self._state = self._merge(self._state, self._count(outputs[rows], targets[rows]).cpu())
        if self._weigh_rows:  # copies, because the caller may reuse its memory
            self._rows.append((outputs.to("cpu", copy=True), targets.to("cpu", copy=True)))

    def gather(self) -> None:
        """Add up what all processes saw, so that each knows the numbers of all rows. Call it once, after the last update."""
        if world_size() == 1:
            return
        self._state = reduce(self._merge, all_gather(self._state))
        outputs, targets = self._kept_rows()
        count, doubles = all_sum(torch.tensor([len(targets), int(outputs.dtype == torch.float64)])).tolist()
        if count:
            # Flat and in float64, so that a process without rows need know neither their shape nor their type.
            outputs, targets = (all_rows(rows.double().flatten()).view(count, -1) for rows in (outputs, targets))
            # Back in float32 if they were, because the clipping of the log loss depends on it.
            self._rows = [(outputs.squeeze(1).to(torch.float64 if doubles else torch.float32), targets.squeeze(1))]

    def compute(self) -> dict[str, float]:
        """The headline numbers, the most telling first; all of them NaN while there are no rows."""
        return {name: float(number) for name, number in self._all_numbers().items()}

    def details(self) -> dict[str, Any]:
        """What stands behind the headline: lists and numbers, NaN among them."""
        return {}

    def intervals(self, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Where each headline number would lie in other sets of as many rows: percentile bootstrap intervals.

        Numbers that follow from a confusion matrix always have one, all others only with `keep_rows`; tokens have none,
        since neighbours in a text are not drawn independently. A resample in which a number is undefined, say for want
        of a rare class, is left out for this number. The calibration error of a resample tends to be larger than that of
        the rows themselves, and so does its interval.

        Args:
            resamples: how many sets to draw, with replacement. To bound the time, a set of N rows and C classes gets at
                most 200,000,000 / (N * C), which is below 1000 from N * C = 200,000 on, but never fewer than 100.
            seed: of a generator of its own.
            level: share of those sets that the interval covers.

        Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
        """
        rng = np.random.default_rng(seed)
        numbers, draws = self._all_numbers(), self._resample_state(resamples, rng)
        if self._weigh_rows and self._rows:
            outputs, targets = self._kept_rows()
            numbers_of, pieces = self._weigh_rows(outputs, targets), _pieces(resamples, outputs.numel())
            draws = _joined(numbers_of(_row_weights(len(targets), piece, rng)) for piece in pieces) | draws
        tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        # 0 * number: what is NaN has no interval, even if it is defined in some resample.
        bounds = {name: draws[name].nanquantile(tails) + 0 * numbers[name] for name in numbers if name in draws}
        return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}

    def _kept_rows(self) -> tuple[Tensor, Tensor]:
        if not self._rows:
            return torch.empty(0), torch.empty(0)
        if len(self._rows) > 1:  # once, and in place of the parts
            outputs, targets = zip(*self._rows, strict=True)
            self._rows = [(torch.cat(list(outputs)), torch.cat(list(targets)))]
        return self._rows[0]

    def _all_numbers(self) -> Numbers:
        numbers = self._numbers()
        if self._weigh_rows:
            outputs, targets = self._kept_rows()
            once = self._weigh_rows(outputs, targets)(torch.ones(1, len(targets)))
            numbers |= {name: number.squeeze(0) for name, number in once.items() if name not in numbers}
        return numbers

    def _resample_state(self, resamples: int, rng: np.random.Generator) -> Numbers:  # noqa: ARG002  # for those that can
        """The numbers, each (R,), that can be resampled from the state alone: none, where that would need rows."""
        return {}

    @abstractmethod
    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        """Raise InputError unless the rows have the shapes and ranges they should have."""

    @abstractmethod
    def _count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The state of these rows alone, on their device."""

    @abstractmethod
    def _numbers(self) -> Numbers:
        """The numbers, each () float64, that follow from the state."""


class _ClassMetrics(Metrics):
    """What two and more classes have in common: a confusion matrix, and sums for the calibration, loss and top 5."""

    def __init__(
        self, num_classes: int, headline: Callable[[Tensor, Tensor, Tensor], Numbers], *, keep_rows: bool
    ) -> None:
        self._num_classes, self._headline = num_classes, headline
        state = torch.zeros(num_classes**2 + NUM_BINS + 2, dtype=torch.float64)
        super().__init__(state, _weigh_class_rows if keep_rows else None)

    def details(self) -> dict[str, Any]:
        """`confusion_matrix`: rows are true classes; `per_class`: precision, recall, f1 and support (rows) of each."""
        matrix, *_ = self._parts()
        return {"confusion_matrix": matrix.long().tolist(), "per_class": _table(*_margins(matrix))}

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        matrix, gaps, loss, in_top = self._state.split([self._num_classes**2, NUM_BINS, 1, 1])
        return matrix.view(self._num_classes, self._num_classes), gaps, loss.squeeze(), in_top.squeeze()

    def _count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        probabilities, targets = _both_classes(outputs), targets.long()
        matrix = _count_pairs(probabilities.argmax(1), targets, self._num_classes).flatten().double()
        loss, in_top = _log_losses(outputs, targets).sum(), _in_top(probabilities, targets, 5).sum().double()
        return torch.cat([matrix, _binned_gaps(probabilities, targets).sum(0), loss[None], in_top[None]])

    def _numbers(self) -> Numbers:
        matrix, gaps, loss, in_top = self._parts()
        count = matrix.sum()
        numbers = self._headline(*_margins(matrix))
        if self._num_classes > 5:
            numbers["top_5_accuracy"] = in_top / count
        numbers |= {"log_loss": loss / count, "calibration_error": gaps.abs().sum() / count}
        # 0 * gaps: a NaN probability is NaN in the gaps, and makes every number NaN rather than some.
        return {name: number + 0 * gaps.sum() for name, number in numbers.items()}

    def _resample_state(self, resamples: int, rng: np.random.Generator) -> Numbers:
        # To draw rows and count them by cell is to draw the counts of the cells: the same distribution, without rows.
        matrix, _, _, in_top = self._parts()
        truth, predicted = matrix.nonzero().unbind(1)
        count = int(matrix.sum())
        if not count:
            return {}
        shares, share_in_top = (matrix[truth, predicted] / count).numpy(), float(in_top) / count

        def draw(piece: int) -> Numbers:
            cells = torch.from_numpy(rng.multinomial(count, shares, size=piece)).double()
            none = torch.zeros(piece, self._num_classes, dtype=torch.float64)
            hits = none.index_add(1, truth, cells * (truth == predicted))
            drawn = self._headline(hits, none.index_add(1, predicted, cells), none.index_add(1, truth, cells))
            return drawn | {
                "top_5_accuracy": torch.from_numpy(rng.binomial(count, share_in_top, piece)).double() / count
            }

        return _joined([draw(piece) for piece in _pieces(resamples, len(truth))])


class MulticlassMetrics(_ClassMetrics):
    """Probabilities (N, C) whose rows sum to 1, targets (N,) int64 in [0, C); averages over classes are plain means.

    accuracy, balanced_accuracy, precision, recall, f1, f1_weighted, top_5_accuracy (if C > 5), log_loss,
    calibration_error; with `keep_rows` also roc_auc and average_precision, each class against the rest.
    """

    def __init__(self, num_classes: int, keep_rows: bool = False) -> None:
        super().__init__(num_classes, _class_numbers, keep_rows=keep_rows)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.shape != (*targets.shape, self._num_classes):
            raise InputError(
                f"MulticlassMetrics: expected probabilities (N, {self._num_classes}), found {_shape(outputs)}"
            )
        _check_probabilities("MulticlassMetrics", outputs, targets)


class BinaryMetrics(_ClassMetrics):
    """Probabilities (N,) of class 1, targets (N,) 0/1; class 1 is predicted above 0.5, which is above logit 0.

    accuracy, balanced_accuracy, precision, recall and f1 of class 1, log_loss, calibration_error; with `keep_rows` also
    roc_auc and average_precision.
    """

    def __init__(self, keep_rows: bool = False) -> None:
        super().__init__(2, _binary_numbers, keep_rows=keep_rows)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.ndim != 1:
            raise InputError(f"BinaryMetrics: expected probabilities (N,) of class 1, found {_shape(outputs)}")
        _check_probabilities("BinaryMetrics", outputs, targets)


class MultilabelMetrics(Metrics):
    """Probabilities (N, L), targets (N, L) 0/1; a label is predicted above 0.5, averages over labels are plain means.

    f1, precision, recall, accuracy (share of right labels), subset_accuracy (share of rows with all labels right),
    log_loss (mean over rows and labels); with `keep_rows` also roc_auc and average_precision.
    """

    def __init__(self, num_labels: int, keep_rows: bool = False) -> None:
        self._num_labels = num_labels
        super().__init__(torch.zeros(3 * num_labels + 4, dtype=torch.float64), _weigh_label_rows if keep_rows else None)

    def details(self) -> dict[str, Any]:
        """`per_class`: precision, recall, f1 and support (rows that have it) of each label."""
        return {"per_class": _table(*_label_counts(self._state))}

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        _check_shapes("MultilabelMetrics", outputs, targets)
        if outputs.shape[1:] != (self._num_labels,):
            raise InputError(
                f"MultilabelMetrics: expected probabilities (N, {self._num_labels}), found {_shape(outputs)}"
            )
        _check_probabilities("MultilabelMetrics", outputs, targets)

    def _count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return _label_columns(outputs, targets).sum(0)

    def _numbers(self) -> Numbers:
        return _label_numbers(self._state)


class RegressionMetrics(Metrics):
    """Values and targets (N,) or (N, K) in the targets' own unit; numbers are plain means over outputs.

    rmse, mae, r2; with `keep_rows` also median_absolute_error.
    """

    def __init__(self, keep_rows: bool = False) -> None:
        # Moments of no rows, into which those of any number of outputs can be merged.
        none = torch.zeros(1, 5, dtype=torch.float64)
        super().__init__(none, _weigh_value_rows if keep_rows else None, _merge_moments)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        _check_shapes("RegressionMetrics", outputs, targets)
        if self._state[0, 0] > 0 and len(self._state) != _columns(targets).shape[1]:
            raise InputError(
                f"RegressionMetrics: expected {len(self._state)} outputs as before, found {_shape(targets)}"
            )

    def _count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return _moments(outputs, targets)

    def _numbers(self) -> Numbers:
        return _value_numbers(self._state)


class TokenMetrics(Metrics):
    """Scores (..., V), logits or probabilities, and targets (...) int64; negative targets are padding and do not count.

    token_accuracy: share of tokens whose highest score is the right one.
    """

    def __init__(self) -> None:
        super().__init__(torch.zeros(2, dtype=torch.float64), None)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.shape[:-1] != targets.shape:
            expected = ", ".join([*map(str, targets.shape), "V"])
            raise InputError(f"TokenMetrics: expected scores ({expected}), found {_shape(outputs)}")

    def _count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        best, predictions = outputs.max(-1)
        real = targets >= 0
        nan = _nan_if_any(best.where(real, 0.0))
        return torch.stack([((predictions == targets) & real).sum() + nan, real.sum()])

    def _numbers(self) -> Numbers:
        return {"token_accuracy": self._state[0] / self._state[1]}


def why_undefined(
    numbers: Mapping[str, float], details: Mapping[str, Any], class_names: Sequence[str] | None = None
) -> dict[str, str]:
    """Return, for each number that is NaN because of the rows it was asked about, the reason in words.

    A number that is NaN because outputs were is not among them.

    Args:
        numbers: as `Metrics.compute` gives them, and the loss.
        details: as `Metrics.details` gives them.
        class_names: of the classes or labels; left out, they are called by their numbers.
    """
    if any(math.isnan(numbers.get(name, 0.0)) for name in ("loss", "log_loss", "rmse")):
        return {}
    found: dict[str, str] = {}
    support = [row["support"] for row in details.get("per_class", ())]
    names = [str(number) for number in range(len(support))] if class_names is None else class_names
    absent = [name for name, rows in zip(names, support, strict=False) if not rows]
    some = ", ".join(map(repr, absent[:3])) + ", ..." * (len(absent) > 3)
    for name in (name for name, number in numbers.items() if math.isnan(number)):
        if name == "r2":
            found[name] = "all targets are equal here, so there is nothing to explain"
        elif name in ("roc_auc", "average_precision") and absent:
            classes = f"{len(absent)} of {len(support)} classes" if len(absent) > 1 else "one class"
            found[name] = f"{classes} ({some}) {'have' if len(absent) > 1 else 'has'} no row here to be ranked"
        elif name == "roc_auc" and support:
            found[name] = "every row here has one of the labels, and none is left to rank it above"
        elif support:
            found[name] = "the class is neither among the rows here nor predicted"
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Kept rows: from whole-number weights (R, N) of the rows to numbers, each (R,), sorted and squared once for all resamples
# ---------------------------------------------------------------------------------------------------------------------


def _weigh_class_rows(probabilities: Tensor, targets: Tensor) -> Callable[[Tensor], Numbers]:
    targets, rankings, count = targets.long(), _rankings(probabilities, targets), len(targets)
    losses, gaps = torch.empty(2, count, dtype=torch.float64)
    bins = torch.empty(count, dtype=torch.uint8)
    for rows in _spans(count):
        losses[rows] = _log_losses(probabilities[rows], targets[rows])
        gaps[rows], bins[rows] = _gaps(probabilities[rows], targets[rows])

    def numbers_of(weights: Tensor) -> Numbers:
        loss = torch.zeros(len(weights), dtype=torch.float64)
        binned = torch.zeros(len(weights), NUM_BINS, dtype=torch.float64)
        for rows in _spans(count):
            shares = weights[:, rows].double().div_(count)
            loss += shares @ losses[rows]
            binned.scatter_add_(1, bins[rows].long().expand(shares.shape), shares.mul_(gaps[rows]))
        roc, precision = _mean_areas(rankings, weights)
        return {
            "log_loss": loss,
            "calibration_error": binned.abs().sum(1),
            "roc_auc": roc,
            "average_precision": precision,
        }

    return numbers_of


def _weigh_label_rows(probabilities: Tensor, targets: Tensor) -> Callable[[Tensor], Numbers]:
    rankings = _rankings(probabilities, targets)
    columns = torch.empty(len(targets), 3 * _columns(targets).shape[1] + 4, dtype=torch.float64)
    for rows in _spans(len(targets)):
        columns[rows] = _label_columns(probabilities[rows], targets[rows])

    def numbers_of(weights: Tensor) -> Numbers:
        roc, precision = _mean_areas(rankings, weights)
        return _label_numbers(_weighted_sums(weights, columns)) | {"roc_auc": roc, "average_precision": precision}

    return numbers_of


def _weigh_value_rows(values: Tensor, targets: Tensor) -> Callable[[Tensor], Numbers]:
    values, targets = _columns(values), _columns(targets)
    (count, outputs), mean = targets.shape, targets.double().mean(0)
    columns = torch.empty(count, 4 * outputs, dtype=torch.float64)
    for rows in _spans(count):
        errors, offsets = values[rows].double() - targets[rows].double(), targets[rows].double() - mean
        columns[rows] = torch.cat([offsets, offsets.square(), errors.square(), errors.abs()], 1)
    sorted_errors, order = columns[:, -outputs:].sort(0)

    def numbers_of(weights: Tensor) -> Numbers:
        shift, squares, squared_errors, absolute_errors = _weighted_sums(weights, columns).chunk(4, 1)
        spread = squares - shift.square() / count
        spread = spread.where(spread > 1e-12 * squares, 0.0)  # a resample of equal targets, but for rounding
        moments = [torch.full_like(spread, count), shift, spread, squared_errors, absolute_errors]
        medians = _weighted_medians(sorted_errors, order, weights)
        return _value_numbers(torch.stack(moments, -1)) | {"median_absolute_error": medians}

    return numbers_of


def _weighted_sums(weights: Tensor, columns: Tensor) -> Tensor:
    """(R, K) float64, from weights (R, N) and float64 columns (N, K)."""
    return reduce(torch.add, (weights[:, rows].double() @ columns[rows] for rows in _spans(len(columns))))


def _pieces(resamples: int, size: int) -> list[int]:
    """Cut as many resamples as time allows into pieces that fit the cache, when each is `size` numbers."""
    resamples = min(resamples, max(100, 200_000_000 // max(size, 1)))
    piece = max(1, 1_000_000 // max(size, 1))
    return [min(piece, resamples - start) for start in range(0, resamples, piece)]


def _row_weights(num_rows: int, resamples: int, rng: np.random.Generator) -> Tensor:
    """How often each row is drawn in each resample: (R, N) float32."""
    weights, once = torch.zeros(resamples, num_rows), torch.ones(())
    for times in weights:
        for rows in _spans(num_rows):
            drawn = torch.from_numpy(rng.integers(num_rows, size=rows.stop - rows.start))
            times.scatter_add_(0, drawn, once.expand(len(drawn)))
    return weights


def _joined(pieces: Iterable[Numbers]) -> Numbers:
    """Return the numbers of all pieces, kept as Python's own: a small tensor of each would pin the memory of a large one."""
    found: dict[str, list[float]] = {}
    for piece in pieces:
        for name, number in piece.items():
            found.setdefault(name, []).extend(number.tolist())
    return {name: torch.tensor(numbers, dtype=torch.float64) for name, numbers in found.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Means of scalars
# ---------------------------------------------------------------------------------------------------------------------


class RunningMean:
    """Weighted mean of scalars that stay on their device: adding one never waits for it. NaN stays NaN."""

    def __init__(self) -> None:
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._sums = torch.zeros(2, dtype=torch.float64)  # of value * weight, of weights

    def add(self, value: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Add a () value that counts `weight` times, such as a mean loss and the number of rows it is the mean of.

        Raises:
            InputError: the value is more than one number, or the weight is below 0.
        """
        if not isinstance(value, torch.Tensor):
            value = torch.tensor(value, dtype=torch.float64)
        if value.ndim:
            raise InputError(f"value: expected one number, (), found {tuple(value.shape)}. Add its mean, or each.")
        if not isinstance(weight, torch.Tensor) and not weight >= 0:
            raise InputError(f"weight: expected a number of at least 0, found {weight}.")
        wide = torch.float32 if value.device.type == "mps" else torch.float64  # mps has no float64
        value = value.detach().to(wide, copy=True)  # the caller may reuse its memory, as a CUDA graph does
        weight = weight.detach() if isinstance(weight, torch.Tensor) else value.new_full((), weight)
        self._pending.append((value, weight.to(wide, copy=True)))
        if len(self._pending) == 64:
            self._fold()

    def add_each(self, values: Tensor, weights: Tensor) -> None:
        """Add (n,) values one after the other: to the last bit, it does not matter in how many calls they come."""
        self._fold()
        weights = weights.to(self._sums)
        added = torch.stack([values.detach().to(self._sums) * weights, weights], dim=1)
        self._sums = torch.cat([self._sums[None], added]).cumsum(0)[-1]

    def clear(self) -> None:
        """Forget what was added."""
        self.__init__()

    def state_dict(self) -> dict[str, Tensor]:
        self._fold()
        return {"sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._sums, self._pending = state["sums"], []

    def gather(self) -> None:
        """Add what all processes added. Call it once, after the last `add`."""
        self._fold()
        self._sums = all_sum(self._sums.cpu())

    def compute(self) -> float:
        """The mean so far, waiting for the device; NaN when nothing was added."""
        self._fold()
        total, weight = self._sums.tolist()
        return total / weight if weight else math.nan

    def _fold(self) -> None:
        if not self._pending:
            return
        values, weights = (torch.stack(pending) for pending in zip(*self._pending, strict=True))
        folded = torch.stack([(values * weights).sum(), weights.sum()])
        self._sums, self._pending = self._sums.to(folded) + folded, []


# ---------------------------------------------------------------------------------------------------------------------
# What comes in
# ---------------------------------------------------------------------------------------------------------------------


def _spans(count: int) -> list[slice]:
    """Cut so many rows into pieces; no rows are one piece too."""
    return [slice(start, min(start + ROWS, count)) for start in range(0, max(count, 1), ROWS)]


def _widest(tensor: Tensor) -> Tensor:
    """Without gradient, on a device that has float64, and in no less than float32."""
    tensor = tensor.detach()
    tensor = tensor.cpu() if tensor.device.type == "mps" else tensor
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _on_cpu(tensor: Tensor) -> Tensor:
    return _widest(tensor).cpu()


def _nan_if_any(values: Tensor) -> Tensor:
    """() float64: NaN if any of `values` is, else 0."""
    return torch.zeros((), dtype=torch.float64, device=values.device).where(~values.isnan().any(), math.nan)


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _check_shapes(where: str, outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise InputError(f"{where}: expected two equal shapes, found {_shape(outputs)} and targets {_shape(targets)}")


def _check_rows(where: str, outputs: Tensor, targets: Tensor) -> None:
    """Either (N, C) and classes (N,), or two equal shapes."""
    if outputs.ndim != 2 or targets.shape != outputs.shape[:1]:
        _check_shapes(where, outputs, targets)


def _check_classes(where: str, classes: Tensor, num_classes: int) -> None:
    if classes.is_floating_point():
        raise InputError(
            f"{where}: expected classes as whole numbers, found {classes.dtype}; use argmax for predictions"
        )
    low, high = (int(end) for end in classes.aminmax()) if len(classes) else (0, -1)
    if low < 0 or high >= num_classes:
        raise InputError(f"{where}: expected classes from 0 to {num_classes - 1}, found {low} to {high}")


def _check_probabilities(where: str, probabilities: Tensor, targets: Tensor) -> None:
    """Probabilities (N, C) with classes (N,), or any shape with 0/1 targets of the same shape."""
    _check_rows(where, probabilities, targets)
    if targets.numel() == 0:
        return
    sums = probabilities.sum(1) if probabilities.shape != targets.shape else probabilities.new_ones(1)
    low, high, least, most = torch.stack([*probabilities.aminmax(), *sums.aminmax()]).tolist()  # one wait for all four
    if low < 0 or high > 1 + 1e-6:
        raise InputError(f"{where}: expected probabilities, found {low:.4g} to {high:.4g}; apply softmax or sigmoid")
    if least < 0.99 or most > 1.01:
        raise InputError(f"{where}: expected rows that sum to 1, found {least:.4g} to {most:.4g}; apply softmax")
    if probabilities.shape != targets.shape:
        _check_classes(where, targets, probabilities.shape[1])
    elif ((targets != 0) & (targets != 1)).any():
        raise InputError(f"{where}: expected targets 0 and 1, found others")
