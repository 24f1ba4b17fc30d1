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

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS, groups, known_site, lasting, mixed, written
from truestep.doctor.record import LossOp, Node, Record, Site

SEVERITY = "error"


NAMES = {"softmax", "log_softmax", "logsoftmax"}


def look(record: Record) -> Iterator[Finding]:
    sizes = {size for model in record.models for call in model.calls if call.trained for size in call.batch_sizes}
    for loss, group, of in groups(record, *KINDS):
        nodes = [node for op in group if (node := _softmax(op)) is not None]
        over = [node for node in nodes if len(node.shape) == 2 and node.facts.get("dim") == 0]
        uneven = [node for node in over if node.shape[0] != node.shape[1] > 1 and node.shape[0] in sizes]
        certain = [node for op in group if (node := _before_nll(op)) is not None]
        if certain:  # the loss says where the classes are
            uneven = over = certain
        if len(over) < max(3, 0.8 * of) or len(uneven) < 0.6 * len(over):
            continue
        site = next((node.site for node in over if node.site), known_site(loss, group))
        yield Finding(
            f"Softmax ran over dimension 0 of outputs of shape {uneven[0].shape}, the batch, in {len(over)} of {of} backward "
            "passes looked at.",
            written(site, NAMES, dimension=True),
            "softmax over the classes: dim=1, or dim=-1",
            {"shape": uneven[0].shape, "dimension": 0},
        )
        return
    yield from _targets(record)
    for model, probe in mixed(record):
        if probe["operation"] in NAMES and not probe["dim"]:
            yield Finding(
                f"{model.kind} mixes the examples of a batch in a softmax: with the first of {probe['batch']} examples "
                f"changed, the others' outputs moved by {probe['moved']:.2g} of their standard deviation.",
                written(probe["site"], NAMES, dimension=True),
                "softmax over the dimension that is to sum to 1, not over the batch",
                {"batch": probe["batch"], "others moved": probe["moved"], "itself moved": probe["own"]},
            )


def _targets(record: Record) -> Iterator[Finding]:
    """Find divergences whose targets sum to 1 over the batch."""
    for loss, group, of in groups(record, "kl_div"):
        if lasting(group, of, lambda op: bool(op.facts.get("targets_over_batch"))):
            site = known_site(loss, group)
            yield Finding(
                f"The targets of a divergence, of shape {group[0].target_shape}, summed to 1 over dimension 0, the batch, and not "
                f"over the classes, in {len(group)} of {of} backward passes looked at.",
                _over_first(site) or site,
                "softmax over the classes: dim=1, or dim=-1",
                {"shape": group[0].target_shape, "dimension": 0},
            )


def _over_first(site: Site | None) -> Site | None:
    """Return the nearest line before one that takes a softmax over dimension 0."""
    statement = sites.statement(site)
    if site is None or statement is None:
        return None
    for one in (statement, *(made for made, _ in source.made_by(site))):
        for node in source.expressions(one):
            if isinstance(node, ast.Call) and source.name_of(node.func) in NAMES:
                dims = [*node.args[-1:], *(word.value for word in node.keywords if word.arg == "dim")]
                if any(isinstance(dim, ast.Constant) and dim.value == 0 for dim in dims):
                    return Site(site.file, node.lineno)
    return None


def _before_nll(op: LossOp) -> Node | None:
    """Return the softmax over dimension 0 before a loss that has the classes in dimension 1, if there is one."""
    for node in op.chain[:3]:
        if node.shape[:2] != op.input_shape[:2] or len(op.input_shape) < 2:
            break
        if node.name == "LogSoftmaxBackward0":
            return node if node.facts.get("dim") == 0 else None
        if node.name not in ("ToCopyBackward0", "ViewBackward0", "UnsqueezeBackward0"):
            break
    return None


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
