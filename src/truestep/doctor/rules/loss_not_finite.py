"""The loss becomes NaN or infinite, and training goes on.

From then on every weight is NaN and nothing is learnt. Behind it is a logarithm or root of 0, a division by 0, an
exponential that overflows, a batch of NaN, or a learning rate that is far too high.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        weights = F.relu(model(inputs))
        loss = (weights * weights.log()).mean()  # <- here
        loss.backward()
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        weights = F.relu(model(inputs))
        loss = (weights * weights.clamp(min=1e-6).log()).mean()
        loss.backward()
        optimizer.step()

Not a mistake: a bad batch now and then that is skipped, and steps that a gradient scaler leaves out.

Source: https://github.com/maudzung/RTM3D/issues/13
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import overshot
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["learning-rate-too-high"]


FIXES = {
    "Log": "x.clamp(min=1e-8).log(), or a loss that takes logits",
    "Div": "divide by x + 1e-8",
    "Sqr": "(x + 1e-12).sqrt(): the gradient of a root is infinite at 0",
    "Pow": "(x + 1e-12) ** p: the gradient is infinite at 0",
    "Exp": "subtract the maximum first, or use torch.logsumexp",
}


def look(record: Record) -> Iterator[Finding]:
    for loss in record.losses:
        values = [value for _, value in loss.values]
        node = loss.breaks
        known = node is not None and node.site is not None
        of_zero = node is not None and known and node.name.startswith("Log") and node.facts["lost"]  # once is enough
        if loss.not_finite < (1 if of_zero else 3) or not values:
            continue
        since = next(place for place, value in enumerate(values) if not math.isfinite(value))
        name = node.name.split("Backward")[0].lower() if node else ""
        thrown = overshot(record)
        if thrown is not None and thrown.loss is loss and not known:
            continue  # the learning rate did that
        if math.isfinite(values[-1]) or loss.not_finite < 0.8 * (len(values) - since):
            if node is not None and known:
                yield Finding(
                    f"The loss was {values[since]:g} in {loss.not_finite} of {len(values)} backward passes, as '{name}' was given "
                    "numbers for which it or its gradient is not finite.",
                    node.site,
                    FIXES.get(node.name[:3], ""),
                    {"not finite": loss.not_finite, "first at step": loss.not_finite_step},
                    "warning",
                )
            continue
        yield Finding(
            f"The loss was {values[since]:g} from optimizer step {loss.not_finite_step} on, in {loss.not_finite} backward passes"
            + (f"; before, '{name}' was given numbers for which it or its gradient is not finite." if known else "."),
            node.site if node is not None and known else loss.site,
            FIXES.get(node.name[:3], "")
            if node is not None and known
            else "look at the inputs and at the learning rate",
            {"not finite": loss.not_finite, "first at step": loss.not_finite_step},
        )
