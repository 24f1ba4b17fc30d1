"""Gradients are clipped after the step that used them.

The step has applied them at full size, and what is clipped is cleared next. Single large gradients throw the model off,
which clipping was there to prevent.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- here

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

Not a mistake: a bound of infinity, which only measures the norm; two clippings of one step.

Source: https://github.com/jongwook/onsets-and-frames/issues/24
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for clip in record.clips:
        if clip.after_step >= 3 and clip.after_step >= 0.8 * clip.times:
            yield Finding(
                f"{clip.after_step} of {clip.times} clippings came after the step, with no backward in between: they changed "
                "gradients that were used already.",
                clip.site,
                "clip between loss.backward() and optimizer.step()",
                {"clippings": clip.times, "after the step": clip.after_step},
            )
