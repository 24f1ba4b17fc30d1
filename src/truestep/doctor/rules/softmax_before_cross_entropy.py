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
from truestep.doctor.reading import groups, known_site, lasting, logits, through_views, written
from truestep.doctor.record import LossOp, Node, Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "nll", "log_softmax"):
        found = [node for op in group if (node := _squeezed(op)) is not None]
        if len(found) < 0.8 * of:
            compiled = (
                len(group) >= 0.8 * of and all(_compiled(op) for op in group) and lasting(group[-3:], 3, _probabilities)
            )
            if not compiled:
                continue
            found, name = [], "softmax"
        else:
            name = "softmax" if found[0].name.startswith("Soft") else "sigmoid"
        op = group[0]
        classes = op.facts.get("classes") or (op.input_shape[-1] if op.input_shape else 0)
        floor = math.log(1 + (classes - 1) / math.e) if classes > 1 else 0.0
        site = known_site(loss, group)
        ran = next((node.site for node in found if node.site), site)
        yield Finding(
            f"Cross-entropy was given the outputs of {name} in {len(group)} of {of} backward passes looked at: with {classes} "
            f"classes its loss can't fall below {floor:.3f}.",
            written(ran, {name}),
            f"give cross-entropy the logits, without {name}; apply softmax where probabilities are shown",
            {"looked at": of, f"with {name}": len(group), "classes": classes, "lowest possible loss": round(floor, 4)},
            related=[site] if site else [],
        )


def _squeezed(op: LossOp) -> Node | None:
    chain = logits(op)
    before = through_views(chain[1:]) if chain else None
    return before if before is not None and before.name in ("SoftmaxBackward0", "SigmoidBackward0") else None


def _compiled(op: LossOp) -> bool:
    chain = logits(op)
    before = through_views(chain[1:]) if chain else None
    return before is not None and before.name.startswith("CompiledFunction")


def _probabilities(op: LossOp) -> bool:
    """Whether numbers that are probabilities, some of them sure, would give these logarithms."""
    low, high = op.facts.get("as_probabilities", (-1, 2))
    return low > -1e-4 and 0.8 < high < 1 + 1e-4
