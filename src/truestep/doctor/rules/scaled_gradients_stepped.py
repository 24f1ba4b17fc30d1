"""The optimizer applies gradients that are still multiplied by the scaler's factor.

The loss is scaled, but `optimizer.step()` is called instead of `scaler.step(optimizer)`: every update is too large by the
factor, or, with Adam, steps on infinite gradients are not left out and its epsilon means something else.

Bad::

    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        scaler.scale(loss).backward()
        optimizer.step()  # <- here

Good::

    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

Not a mistake: gradients that were unscaled with `scaler.unscale_`, or divided by hand.

Source: https://github.com/IAHispano/Applio/issues/860
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["gradients-clipped-before-unscale", "loss-not-finite", "gradients-exploding", "learning-rate-too-high"]


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        if optimizer.scaled >= 3 and optimizer.scaled >= 0.8 * optimizer.looked_at and not optimizer.through_scaler:
            yield Finding(
                f"{optimizer.scaled} of {optimizer.looked_at} steps of {optimizer.kind} looked at applied gradients as the "
                "scaler had multiplied them.",
                optimizer.step_sites.most_common(1)[0][0],
                "scaler.step(optimizer); scaler.update()",
                {"steps looked at": optimizer.looked_at, "with scaled gradients": optimizer.scaled},
            )
