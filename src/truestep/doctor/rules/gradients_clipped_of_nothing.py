"""Clipping is given no parameter that has a gradient, and so does nothing.

`model.parameters()` is a generator: handed to an optimizer first, it is used up, and clipping sees an empty list. The
parameters of another model, or of a copy, have the same effect.

Bad::

    parameters = model.parameters()
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)  # <- here
        optimizer.step()

Good::

    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

Not a mistake: a part of the model that a batch happens to leave out.

Source: https://github.com/pytorch/pytorch/issues/148259
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    used = any(o.steps > o.without_gradients + 2 for o in record.optimizers)
    for clip in record.clips:
        share = 0.8 if clip.exhausted else 1.0
        if used and clip.of_nothing >= 3 and clip.of_nothing >= share * clip.times:
            why = (
                "the generator of parameters was used up before"
                if clip.exhausted
                else "none of its parameters had a gradient"
            )
            yield Finding(
                f"{clip.of_nothing} of {clip.times} clippings looked at had nothing to clip: {why}.",
                clip.site,
                "give it the parameters that are being trained, anew each time: model.parameters()",
                {
                    "clippings": clip.calls,
                    "looked at": clip.times,
                    "of nothing": clip.of_nothing,
                    "generator used up": clip.exhausted,
                },
            )
