"""A loss for targets of a certain range is given others.

Binary cross-entropy wants targets in [0, 1]: with -1 and 1, with class numbers or with pixels up to 255 it has no lower
bound, and it falls far below 0 while nothing useful is learnt. `SoftMarginLoss` wants -1 and 1: of targets 0, it learns
nothing.

Bad::

    criterion = nn.BCEWithLogitsLoss()
    for inputs, targets in loader:
        optimizer.zero_grad()
        wanted = 2 * F.one_hot(targets, 3).float() - 1
        criterion(model(inputs), wanted).backward()  # <- here
        optimizer.step()

Good::

    criterion = nn.BCEWithLogitsLoss()
    for inputs, targets in loader:
        optimizer.zero_grad()
        wanted = F.one_hot(targets, 3).float()
        criterion(model(inputs), wanted).backward()
        optimizer.step()

Not a mistake: soft or smoothed targets in [0, 1], and targets that a weight of 0 or a mask leaves out.

Source: https://github.com/milesial/Pytorch-UNet/issues/65
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site, lasting
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "bce", "bce_logits", "soft_margin"):
        if not lasting(group, of, _outside):
            continue
        low = min(op.facts["target_min"] for op in group)
        high = max(op.facts["target_max"] for op in group)
        margin = group[0].kind == "soft_margin"
        yield Finding(
            f"{'Soft margin loss' if margin else 'Binary cross-entropy'} was given targets from {low:g} to {high:g} in "
            f"{len(group)} of {of} backward passes looked at; it expects {'-1 and 1' if margin else '[0, 1]'}.",
            known_site(loss, group),
            "targets = 2 * targets - 1"
            if margin
            else "bring the targets into [0, 1], or use a loss for classes or numbers",
            {"smallest target": low, "largest target": high},
        )


def _outside(op: LossOp) -> bool:
    low, high = op.facts.get("target_min", 0.0), op.facts.get("target_max", 0.0)
    if op.kind == "soft_margin":
        return low == 0 and high == 1
    return op.reduction in ("mean", "sum") and not op.facts.get("weights") and (low < -1e-3 or high > 1 + 1e-3)
