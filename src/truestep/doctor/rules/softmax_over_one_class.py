"""Softmax runs over a single output, so that it is always 1.

With one logit an example, softmax gives 1 whatever the model says, cross-entropy is 0, and no gradient flows. The loss is
0 or stands still from the first step on.

Bad::

    scorer = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(scorer.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        chance = torch.softmax(scorer(inputs), dim=1)  # <- here
        F.binary_cross_entropy(chance, (targets > 0).float().unsqueeze(1)).backward()
        optimizer.step()

Good::

    scorer = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(scorer.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        logit = scorer(inputs)
        F.binary_cross_entropy_with_logits(logit, (targets > 0).float().unsqueeze(1)).backward()
        optimizer.step()

Not a mistake: attention with a single key.

Source: https://github.com/ultralytics/yolov3/issues/191
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS, groups, known_site, through_views, written
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"


NAMES = {"softmax", "log_softmax", "logsoftmax"}


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, *KINDS):
        if len(group) < max(3, 0.8 * of) or not all(_of_one(op) for op in group):
            continue
        site = known_site(loss, group)
        first = through_views(group[0].chain)
        ran = next((node.site for op in group if (node := through_views(op.chain)) and node.site), site)
        yield Finding(
            f"Softmax ran over one output in all of {len(group)} backward passes looked at: it gives 1 whatever the model "
            f"says (input of the loss: {group[0].input_shape}).",
            written(ran, NAMES) if first is not None else site,
            "binary_cross_entropy_with_logits for one output, or as many outputs as classes",
            {"shape": group[0].input_shape},
        )


def _of_one(op: LossOp) -> bool:
    if op.kind == "nll":
        return op.facts.get("classes") == 1
    node = through_views(op.chain)
    if node is None or node.name not in ("SoftmaxBackward0", "LogSoftmaxBackward0") or node.facts.get("dim") is None:
        return False
    return bool(node.shape) and node.shape[node.facts["dim"]] == 1
