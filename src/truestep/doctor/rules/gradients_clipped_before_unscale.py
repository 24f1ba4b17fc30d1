"""Gradients are clipped while they are still multiplied by the scaler's factor.

A gradient scaler multiplies the loss by some ten thousands, so nearly every gradient is above the bound and is cut down
to it; divided by the factor afterwards, almost nothing is left of it. The model learns as with a tiny learning rate.

Bad::

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- here
        scaler.step(optimizer)
        scaler.update()

Good::

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

Not a mistake: a scaler that is switched off, as with bfloat16, and gradients that were divided by its scale by hand.

Source: https://github.com/pytorch/examples/issues/1196
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for clip in record.clips:
        if not clip.changed and clip.still_scaled >= 3 and clip.still_scaled >= 0.8 * clip.times:
            yield Finding(
                f"{clip.still_scaled} of {clip.times} clippings saw gradients that the scaler had not unscaled yet.",
                clip.site,
                "scaler.unscale_(optimizer)  # before this line",
                {"clippings": clip.times, "of scaled gradients": clip.still_scaled},
            )
