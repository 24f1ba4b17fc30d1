"""The loss rises far above where it began: the learning rate is too high.

Each step overshoots, and a good part of every weight is replaced at each of them. The loss climbs or swings without end.

Bad::

    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0, momentum=0.9)  # <- here
    for epoch in range(5):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.l1_loss(model(inputs), inputs.sum(1, keepdim=True)).backward()
            optimizer.step()

Good::

    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(5):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.l1_loss(model(inputs), inputs.sum(1, keepdim=True)).backward()
            optimizer.step()

Not a mistake: losses that need not fall, as of adversaries and policies, searches for the highest useful learning rate.

Source: https://github.com/pytorch/pytorch/issues/23142
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS, overshot
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    if found := overshot(record):
        optimizer = found.optimizer
        rate = max((rate for _, rate in optimizer.learning_rates[:3]), default=float("nan"))
        yield Finding(
            f"With {optimizer.kind} at a learning rate of {rate:g} one of the first steps changed weights by {found.ratio:.0%} of "
            f"their size; the loss went from {found.first:.3g} to {found.highest:.3g}, and it ended at {found.last:.3g}.",
            optimizer.site,
            f"lr={rate / 10:g}",
            {"learning rate": rate, "loss at first": found.first, "highest": found.highest, "loss at last": found.last},
            "warning",
        )
        return
    losses = [loss for loss in record.losses if loss.times >= 15]
    optimizers = [one for one in record.optimizers if one.steps]
    if len(losses) != 1 or len(optimizers) != 1 or len(optimizers[0].learning_rates) > 1:
        return
    loss, optimizer = losses[0], optimizers[0]
    kinds = {op.kind for op in loss.ops}
    values = [value for _, value in loss.values]
    if not kinds or not kinds <= set(KINDS) or len(values) < 15 or len(optimizer.update_ratios) < 4:
        return
    first, last = median(values[:3]), median(values[-len(values) // 3 :])
    ratio = median(optimizer.update_ratios[1:])
    diverged = not math.isfinite(last)
    if first <= 0 or not (last > 3 * first or diverged) or not (ratio > 0.3 or not math.isfinite(ratio)):
        return
    rate = optimizer.learning_rates[0][1] if optimizer.learning_rates else float("nan")
    yield Finding(
        f"With {optimizer.kind} at a learning rate of {rate:g} the loss went from {first:.3g} to {last:.3g} in {optimizer.steps} "
        f"steps, each of which changed weights by {ratio:.0%} of their size.",
        optimizer.site,
        f"lr={rate / 10:g}",
        {"learning rate": rate, "loss at first": first, "loss at last": last, "change of weights a step": ratio},
        "warning",
    )
