"""What somebody would lose who answers without looking at the inputs: what a loss is to be read beside."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from truestep.objectives import IGNORED, Binary, Multiclass, Multilabel, NextToken, Objective, Regression


def even_guess(objective: Objective, outputs: Any, targets: Any) -> float | None:
    """Return the mean loss where all outputs are 0: every class as likely, or the mean of the training targets.

    This is about where a model should begin. None for an objective of one's own, whose outputs may be anything.
    """
    if type(objective) not in (Multiclass, Binary, Multilabel, NextToken, Regression):
        return None
    with torch.no_grad():
        return float(objective.loss_sum(torch.zeros_like(outputs), targets) / objective.count(targets))


def blind_guess(objective: Objective, targets: Tensor) -> float | None:
    """Return the least mean loss that one answer for all of these targets can have.

    Without weights it is the entropy of the classes' frequencies in nats, and the variance for squared errors.
    None for an objective of one's own.
    """
    match objective:
        case Multiclass():
            return _of_classes(objective, targets)
        case NextToken():
            tokens = targets[targets != IGNORED]
            return _entropy(tokens.flatten().bincount(minlength=1).double())
        case Binary():
            positive = targets.double().sum() * objective.positive_weight
            parts = torch.stack([positive, (1 - targets.double()).sum()])
            return _entropy(parts) * float(parts.sum()) / targets.numel()
        case Multilabel():
            shares = targets.double().mean(0)
            return float(torch.stack([_entropies(shares), _entropies(1 - shares)]).sum(0).mean())
        case Regression():
            return _of_values(objective, targets)
        case _:
            return None


def _of_classes(objective: Multiclass, targets: Tensor) -> float:
    """Return sum_c a_c (-log a_c/A) / W: a_c is how much class c is asked for, after weights and smoothing."""
    classes = objective.num_classes
    if targets.is_floating_point():
        asked = targets.double().movedim(1, -1).flatten(0, -2).sum(0)
    else:
        asked = targets.flatten().bincount(minlength=classes).double()
    weights = torch.tensor(objective.class_weights or (1.0,) * classes, dtype=torch.float64, device=asked.device)
    total, smooth = asked.sum(), objective.label_smoothing
    share = (1 - smooth) * asked * weights + smooth / classes * weights * total
    return _entropy(share) * float(share.sum() / (asked * weights).sum())


def _of_values(objective: Regression, targets: Tensor) -> float:
    mean, std = (
        torch.tensor(numbers, dtype=torch.float64, device=targets.device) for numbers in (objective.mean, objective.std)
    )
    values = ((targets.double() - mean) / std).reshape(len(targets), -1)
    if objective.loss == "mse":
        return float(values.var(0, correction=0).mean())
    if objective.loss == "mae":
        return float((values - values.median(0).values).abs().mean())
    low, high = values.min(0).values, values.max(0).values
    for _ in range(100):  # the Huber loss is convex: halve where its slope changes sign
        middle = (low + high) / 2
        falls = (values - middle).clamp(-1, 1).sum(0) > 0
        low, high = torch.where(falls, middle, low), torch.where(falls, high, middle)
    return float(torch.nn.functional.huber_loss(values, low.expand_as(values)))


def _entropy(counts: Tensor) -> float:
    """Return the entropy of these frequencies in nats; NaN of none."""
    total = float(counts.sum())
    return float(_entropies(counts / total).sum()) if total else math.nan


def _entropies(shares: Tensor) -> Tensor:
    return torch.special.entr(shares)
