"""Gradients are clipped before `backward` has computed them.

There is nothing to clip yet, or only what an earlier batch left. The gradients of this batch are applied at full size.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- here
        loss.backward()
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

Not a mistake: a bound of infinity, which only measures the norm; clipping what several backward passes have summed.

Source: https://github.com/awslabs/graphstorm/issues/1366
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["gradients-clipped-of-nothing"]


def look(record: Record) -> Iterator[Finding]:
    for clip in record.clips:
        if clip.before_backward >= 3 and clip.before_backward >= 0.8 * clip.times:
            yield Finding(
                f"{clip.before_backward} of {clip.times} clippings came before the backward pass whose gradients the next step "
                "used.",
                clip.site,
                "clip between loss.backward() and optimizer.step()",
                {"clippings": clip.times, "before backward": clip.before_backward},
            )
