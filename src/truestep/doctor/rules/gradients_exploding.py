"""Gradients are thousands of times larger than the weights, step after step, and the loss gets worse.

Each layer or time step multiplies the gradient on its way back, so that in deep and recurrent networks it grows with their
length. A step along it throws the weights far away: the loss climbs, or becomes NaN after some steps.

Bad::

    cell, head = nn.Linear(8, 8), nn.Linear(8, 3)
    nn.init.normal_(cell.weight, std=1.0)
    optimizer = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=1e-4)
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            state = inputs
            for _ in range(16):
                state = cell(state)
            F.cross_entropy(head(state), targets).backward()  # <- here
            optimizer.step()

Good::

    cell, head = nn.Linear(8, 8), nn.Linear(8, 3)
    nn.init.orthogonal_(cell.weight)
    optimizer = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.01)
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            state = inputs
            for _ in range(16):
                state = cell(state)
            F.cross_entropy(head(state), targets).backward()
            nn.utils.clip_grad_norm_([*cell.parameters(), *head.parameters()], 1.0)
            optimizer.step()

Not a mistake: large gradients of a summed or unscaled loss that falls, a spike now and then, and what is clipped before
the step.

Source: https://github.com/pytorch/examples/issues/180
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS, burst, overshot
from truestep.doctor.record import LossFacts, OptimizerFacts, Record

SEVERITY = "warning"
HIDES = ["loss-not-finite", "learning-rate-too-high", "units-dead"]
HUGE = 1_000  # times the norm of the weights


def look(record: Record) -> Iterator[Finding]:
    thrown = overshot(record)
    for optimizer in record.optimizers:
        if thrown is not None and thrown.optimizer is not optimizer and thrown.loss.site in optimizer.backward_sites:
            continue  # its gradients are of the loss that another one's rate threw up
        norms = [(gradient, weights) for _, gradient, weights in optimizer.gradient_norms]
        finite = [(gradient, weights) for gradient, weights in norms if math.isfinite(gradient) and weights > 0]
        if not finite or optimizer.steps < 8 or optimizer.without_gradients:
            continue
        huge = all(gradient > HUGE * weights for gradient, weights in finite)
        huge = huge and (len(finite) >= 3 or len(finite) < len(norms))  # steadily, or until they were no numbers
        sudden = burst(optimizer)
        if not huge and sudden is None and not grown(optimizer, [gradient for gradient, _ in finite]):
            continue
        loss = next((one for one in record.losses if one.site in optimizer.backward_sites and worse(one)), None)
        if loss is None or (loss.breaks is not None and loss.breaks.site is not None):
            continue
        values = [value for _, value in loss.values]
        how = (
            f"{median(g / w for g, w in finite):.2g} times the norm of the weights"
            if huge
            else f"{sudden[0] / sudden[1]:.2g} times that of the weights while these were nearly as they began"
            if sudden is not None
            else f"{finite[0][0]:.2g} at first and {finite[-1][0]:.2g} at last"
        )
        yield Finding(
            f"The norm of the gradients was {how}, in {len(finite)} of {len(norms)} steps looked at"
            f"{', and no number in the others' if len(finite) < len(norms) else ''}; the loss went from {values[0]:.3g} to "
            f"{values[-1]:.3g}.",
            loss.site,
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # after this line",
            {"norm at first": finite[0][0], "norm at last": norms[-1][0], "loss at last": values[-1]},
            "warning",
        )


def grown(optimizer: OptimizerFacts, norms: list[float]) -> bool:
    """Whether gradients grew steadily and a thousandfold, though no step changed much of the weights."""
    rising = sum(b > a for a, b in pairwise(norms))
    small = bool(optimizer.update_ratios) and max(optimizer.update_ratios[:3]) <= 0.3
    return len(norms) >= 5 and small and norms[-1] > HUGE * norms[0] > 0 and rising >= 0.75 * (len(norms) - 1)


def worse(loss: LossFacts) -> bool:
    """Whether a supervised loss ended far above where it began, or as no number."""
    values = [value for _, value in loss.values]
    kinds = {op.kind for op in loss.ops}
    if loss.times < 8 or len(values) < 8 or not kinds or not kinds <= set(KINDS):
        return False
    first, last = median(values[:3]), median(values[-len(values) // 3 :])
    return not math.isfinite(values[-1]) or (first > 0 and last > 3 * first)
