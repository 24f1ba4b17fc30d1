"""Softmax runs over the examples of a batch, not over the classes.

Each example's probabilities then depend on which others are in its batch, and no row sums to 1. `nn.Softmax()` without a
dimension does this to inputs of one or three dimensions. Training looks like slow learning; alone, an example is always
certain.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        logs = F.log_softmax(model(inputs), dim=0)  # <- here
        F.nll_loss(logs, targets).backward()
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        logs = F.log_softmax(model(inputs), dim=1)
        F.nll_loss(logs, targets).backward()
        optimizer.step()

Not a mistake: a similarity of all pairs that is normalised both ways, attention over a bag of instances or over the nodes
of one graph.

Source: https://github.com/PetrochukM/PyTorch-NLP/issues/2
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS, groups, known_site, mixed, written
from truestep.doctor.record import LossOp, Node, Record

SEVERITY = "error"


NAMES = {"softmax", "log_softmax", "logsoftmax"}


def look(record: Record) -> Iterator[Finding]:
    sizes = {size for model in record.models for call in model.calls if call.trained for size in call.batch_sizes}
    for loss, group, of in groups(record, *KINDS):
        nodes = [node for op in group if (node := _softmax(op)) is not None]
        over = [node for node in nodes if len(node.shape) == 2 and node.facts.get("dim") == 0]
        uneven = [node for node in over if node.shape[0] != node.shape[1] > 1 and node.shape[0] in sizes]
        if len(over) < max(3, 0.8 * of) or len(uneven) < 0.6 * len(over):
            continue
        site = next((node.site for node in over if node.site), known_site(loss, group))
        yield Finding(
            f"Softmax ran over dimension 0 of outputs of shape {uneven[0].shape}, the batch, in {len(over)} of {of} backward "
            "passes looked at.",
            written(site, NAMES),
            "softmax over the classes: dim=1, or dim=-1",
            {"shape": uneven[0].shape, "dimension": 0},
        )
        return
    for model, probe in mixed(record):
        if probe["operation"] in NAMES and not probe["dim"]:
            yield Finding(
                f"{model.kind} mixes the examples of a batch in a softmax: with the first of {probe['batch']} examples "
                f"changed, the others' outputs moved by {probe['moved']:.2g} of their standard deviation.",
                written(probe["site"], NAMES),
                "softmax over the dimension that is to sum to 1, not over the batch",
                {"batch": probe["batch"], "others moved": probe["moved"], "itself moved": probe["own"]},
            )


def _softmax(op: LossOp) -> Node | None:
    if op.kind == "log_softmax":
        dim = op.facts.get("dim")
        shape = op.input_shape
        return Node(
            "LogSoftmaxBackward0", op.site, shape, [], {"dim": dim % len(shape) if dim is not None and shape else None}
        )
    for node in op.chain[:4]:
        if node.name in ("SoftmaxBackward0", "LogSoftmaxBackward0"):
            return node
        if not node.name.startswith(("Log", "Clamp", "Add", "View", "Squeeze")):
            break
    return None
