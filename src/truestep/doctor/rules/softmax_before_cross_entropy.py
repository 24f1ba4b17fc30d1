"""Cross-entropy is given probabilities, though it applies softmax itself.

The second softmax squeezes all outputs into [0, 1], so that the loss can't fall below ln(1 + (C - 1) / e) for C classes
however sure the model is, and gradients are small. Training looks slow and the accuracy ends lower.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        probabilities = torch.softmax(model(inputs), dim=1)  # <- here
        F.cross_entropy(probabilities, targets).backward()
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        logits = model(inputs)
        F.cross_entropy(logits, targets).backward()
        optimizer.step()

Not a mistake: softmax of attention weights or of the targets, `nll_loss` on `log_softmax`, or `log_softmax` before
cross-entropy, which changes nothing.

Source: https://github.com/Lightning-Universe/lightning-bolts/issues/654
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record
from truestep.doctor.reading import ops, through_views

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loss, op, times, of in ops(record, "nll", "log_softmax"):
        chain = op.chain if op.kind == "log_softmax" else op.chain[1:]
        if op.kind == "nll" and (not op.chain or op.chain[0].name != "LogSoftmaxBackward0"):
            continue
        before = through_views(chain)
        if before is None or before.name not in ("SoftmaxBackward0", "SigmoidBackward0") or times < 0.8 * of:
            continue
        name = "softmax" if before.name.startswith("Soft") else "sigmoid"
        classes = op.facts.get("classes") or (op.input_shape[-1] if op.input_shape else 0)
        floor = math.log(1 + (classes - 1) / math.e) if classes > 1 else 0.0
        yield Finding(
            f"Cross-entropy was given the outputs of {name} in {times} of {of} backward passes looked at: with {classes} "
            f"classes its loss can't fall below {floor:.3f}.",
            before.site or op.site or loss.site,
            f"give cross-entropy the logits, without {name}; apply softmax where probabilities are shown",
            {"looked at": of, f"with {name}": times, "classes": classes, "lowest possible loss": round(floor, 4)},
            related=[site for site in (op.site,) if site],
        )
