"""Training goes through examples that are sorted by class, in their order.

Each batch then holds one class: a step makes the model say that class whatever it sees, and the next ones make it forget
it. The loss within an epoch jumps where the class changes, and the class that comes last wins. Batch norm's statistics
belong to one class at a time, too.

Bad::

    order = labels.argsort()
    sorted_loader = DataLoader(TensorDataset(features[order], labels[order]), batch_size=16)  # <- here
    for epoch in range(2):
        for inputs, targets in sorted_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    order = labels.argsort()
    sorted_loader = DataLoader(TensorDataset(features[order], labels[order]), batch_size=16, shuffle=True)
    for epoch in range(2):
        for inputs, targets in sorted_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: time series and texts in their order; samplers that choose classes on purpose; tasks one after another;
one step for all examples.

Source: https://github.com/pytorch/vision/issues/7818
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import loops
from truestep.doctor.record import LossFacts, Record, Site

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    told = False
    for loader in record.loaders:
        labels, first = loader.labels, loader.passes[0] if loader.passes else None
        if not labels or first is None or not first.backwards or loader.sampler != "SequentialSampler":
            continue
        classes, changes, examples = labels["classes"], labels["changes"], labels["examples"]
        if (
            2 <= classes <= examples / 12
            and changes <= classes
            and first.steps >= 3
            and min(first.batches, first.steps) >= classes * 0.75
            and (loader.batch_size or 0) >= 4
        ):
            told = True
            yield Finding(
                f"The {examples} examples of an epoch came without shuffling, and their labels, of {classes} classes, "
                f"changed {changes} times: nearly every batch was of one class.",
                loader.site,
                "DataLoader(..., shuffle=True)",
                {"examples": examples, "classes": classes, "changes of class": changes, "batches": first.batches},
            )
    if not told and not any(loader.trained for loader in record.loaders):
        for loss in record.losses:
            yield from _by_loss(loss)


def _by_loss(loss: LossFacts) -> Iterator[Finding]:
    """Without a loader: what the loss was given as targets, batch for batch."""
    ops = [op for op in loss.ops if op.kind == "nll" and len(op.input_shape) == 2 and op.facts.get("counted", 0) >= 8]
    if len(ops) != loss.looked_at or len(ops) < 6 or len(ops) != len(loss.ops):
        return
    single = [op for op in ops if op.facts.get("target_min") == op.facts.get("target_max")]
    values = {op.facts.get("target_min") for op in single}
    if len(single) < 0.6 * len(ops) or len(values) < 2:
        return
    order = [op.facts["target_min"] for op in single]
    size = max(op.facts["counted"] for op in ops)
    yield Finding(
        f"In {len(single)} of {len(ops)} batches looked at, all of up to {size} targets were of one class, of "
        f"{len(values)} in turn ({', '.join(f'{int(one)}' for one in order[:6])} ...).",
        _slicing(loss.site),
        "order = torch.randperm(len(x)); x, y = x[order], y[order]  # anew in each epoch",
        {"batches looked at": len(ops), "of one class": len(single)},
    )


def _slicing(site: Site | None) -> Site | None:
    """Return the line in the loop that cuts out a batch."""
    for loop in loops(site)[:1]:
        for node in loop.body:
            if (
                isinstance(node, ast.Assign)
                and any(isinstance(part, ast.Slice) for part in ast.walk(node.value))
                and site
            ):
                return Site(site.file, node.lineno)
    return site
