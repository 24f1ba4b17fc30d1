"""Gradients are cleared between `backward` and the step, which then changes nothing.

The order is backward, zero_grad, step: what backward computed is thrown away. The loss does not move beyond the noise of
batches, except by weight decay or momentum.

Bad::

    for inputs, targets in loader:
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.zero_grad()  # <- here
        optimizer.step()

Good::

    for inputs, targets in loader:
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

Not a mistake: a backward pass that only measures, is cleared, and is followed by another whose gradients are used.

Source: https://github.com/milesial/Pytorch-UNet/issues/378
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import cleared_by_hand, stepped_first
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["step-without-gradients", "gradients-clipped-of-nothing"]


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        lost = optimizer.cleared_after_backward + optimizer.vanished
        if lost < 3 or lost < 0.8 * (optimizer.steps - 1) or stepped_first(optimizer):
            continue
        by_call = optimizer.clear_sites.most_common(1)
        site = by_call[0][0] if by_call else cleared_by_hand(optimizer)
        yield Finding(
            f"In {lost} of {optimizer.steps} steps of {optimizer.kind}, the gradients that backward had computed were cleared "
            "before the step could use them.",
            site,
            "clear gradients before backward, or after the step",
            {"steps": optimizer.steps, "with cleared gradients": lost},
        )
