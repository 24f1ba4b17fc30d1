"""Binary cross-entropy with logits is given the outputs of sigmoid, though it applies sigmoid itself.

The second sigmoid squeezes every probability into [0.5, 0.73]: no example can be called negative with any certainty, the
loss can't fall below 0.31 for positives and 0.69 for negatives, and gradients are small.

Bad::

    criterion = nn.BCEWithLogitsLoss()
    for inputs, targets in loader:
        optimizer.zero_grad()
        chances = torch.sigmoid(model(inputs))  # <- here
        criterion(chances, F.one_hot(targets, 3).float()).backward()
        optimizer.step()

Good::

    criterion = nn.BCEWithLogitsLoss()
    for inputs, targets in loader:
        optimizer.zero_grad()
        logits = model(inputs)
        criterion(logits, F.one_hot(targets, 3).float()).backward()
        optimizer.step()

Not a mistake: a sigmoid that gates something on the way to the logits, or sigmoid for predictions after the loss.

Source: https://github.com/avBuffer/UNet3plus_pth/issues/23
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site, lasting, through_views, written
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"


SQUEEZED = {"SigmoidBackward0": "sigmoid", "SoftmaxBackward0": "softmax", "HardsigmoidBackward0": "hardsigmoid"}
UNSEEN = ("CompiledFunctionBackward", "ReciprocalBackward0")  # compiled, or 1 / (1 + exp(-x)) by hand


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "bce_logits"):
        before = through_views(group[0].chain)
        if before is None or len(group) < 0.8 * of:
            continue
        name = SQUEEZED.get(before.name)
        if name is None and before.name in UNSEEN and len(group) >= 5 and lasting(group, of, _within):
            name = "sigmoid"
        if name is None:
            continue
        site = known_site(loss, group)
        ran = next((node.site for op in group if (node := through_views(op.chain)) and node.site), site)
        yield Finding(
            f"Binary cross-entropy with logits was given the outputs of {name} in {len(group)} of {of} backward passes "
            "looked at: it takes them for logits, so that the probabilities lie between 0.5 and 0.73.",
            written(ran, {name}),
            f"give it the logits, without {name}",
            {"looked at": of, f"with {name}": len(group)},
            related=[site] if site else [],
        )


def _within(op: LossOp) -> bool:
    return op.facts.get("input_min", -1) >= 0 and 0.75 < op.facts.get("input_max", 2) <= 1
