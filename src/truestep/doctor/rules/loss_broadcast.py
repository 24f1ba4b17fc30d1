"""The loss compares every output with every target, because their shapes differ.

Outputs of shape (N, 1) and targets of shape (N,) broadcast to (N, N). The mean of all pairs is smallest when each output
is the mean of the targets: the model learns to say one number, at a loss near the variance of the targets.

Bad::

    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = ((model(inputs) - targets.float()) ** 2).mean()  # <- here
        loss.backward()
        optimizer.step()

Good::

    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = ((model(inputs).squeeze(1) - targets.float()) ** 2).mean()
        loss.backward()
        optimizer.step()

Not a mistake: pairs on purpose, as in ranking, kernels or quantiles, where more is done with them than to take their
mean; the distance of two samples, from which those within each are subtracted.

Source: https://github.com/deepset-ai/FARM/issues/229
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from truestep.doctor import flow
from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site, lasting
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"


PAIRS = re.compile(r"unsqueeze|None|newaxis|\.T\b|\bmT\b|expand|outer|cdist|pair", re.IGNORECASE)
FIX = "give both the same shape: outputs.squeeze(1), or targets.unsqueeze(1)"


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "mse", "l1", "smooth_l1", "huber"):
        by_hand = group[0].facts.get("by_hand")
        # of the distance of two samples, those within each are subtracted
        subtracted = any(node.name.startswith(("Sub", "Rsub", "Neg")) for node in loss.ends)
        if lasting(group, of, _blown_up) and (by_hand or not subtracted):
            given = group[0].input_shape if by_hand else group[0].chain[0].inputs[0]
            shape = group[0].target_shape if by_hand else group[0].input_shape
            yield Finding(
                f"Outputs of shape {given} and targets of another shape were broadcast to {shape}, each with all the others, "
                f"in {len(group)} of {of} backward passes looked at.",
                known_site(loss, group),
                FIX,
                {"outputs": given, "compared": shape},
            )
            return
    for loss in record.losses:
        if len(loss.broadcasts) < max(3, 0.6 * min(loss.looked_at, 20)):
            continue
        node = next((one for one in loss.broadcasts if one.site is not None), loss.broadcasts[0])
        site = node.site or loss.site
        if site is not None and PAIRS.search(flow.text_of(site)):
            continue
        yield Finding(
            f"Values of shape {node.inputs[0]} were broadcast to {node.shape} on the way to the loss in "
            f"{len(loss.broadcasts)} backward passes looked at: each with all the others.",
            site,
            FIX,
            {"given": node.inputs[0], "became": node.shape},
        )


def _blown_up(op: LossOp) -> bool:
    """Whether each output was compared with each target, and nothing but the mean or sum of that was taken."""
    if op.facts.get("by_hand"):
        return bool(op.facts.get("all_pairs"))
    if not op.chain or op.chain[0].name != "ExpandBackward0":
        return False
    given = op.chain[0].inputs[0]
    on_purpose = len(op.chain) > 1 and op.chain[1].name.startswith("Unsqueeze") and op.reduction == "none"
    if given is None or on_purpose:
        return False
    total = math.prod(op.input_shape)
    return 1 < math.prod(given) < total and 1 < op.facts.get("target_numbers", 1) < total
