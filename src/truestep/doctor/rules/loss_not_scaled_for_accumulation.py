"""Gradients of several batches are summed, without dividing each loss by their number.

The update is larger by the number of batches than that of one batch of the same size in total: a learning rate that was
found for such a batch is too high here.

Bad::

    for epoch in range(4):
        for number, (inputs, targets) in enumerate(loader, 1):
            F.cross_entropy(model(inputs), targets).backward()  # <- here
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()

Good::

    for epoch in range(4):
        for number, (inputs, targets) in enumerate(loader, 1):
            (F.cross_entropy(model(inputs), targets) / 2).backward()
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()

Not a mistake: a loss that is a sum; a learning rate that was chosen with the number of batches in mind; an optimizer such
as Adam, to which a factor is the same.

Source: https://github.com/hirofumi0810/neural_sp/issues/168
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "note"
SCALING = ("DivBackward0", "MulBackward0", "SumBackward0", "SumBackward1")
INDIFFERENT = ("Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "Lion")


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        window, times = optimizer.micro_batches.most_common(1)[0] if optimizer.micro_batches else (0, 0)
        if window < 2 or times < 3 or times < 0.5 * optimizer.steps or optimizer.closures or optimizer.zeroed:
            continue
        if optimizer.kind in INDIFFERENT or optimizer.stale or len(optimizer.backward_sites) != 1:
            continue
        batches = [sum(e.kind == "forward" for e in one.events) for one in optimizer.windows]
        if sum(count >= window for count in batches) < 0.5 * len(batches):
            continue
        site = next(iter(optimizer.backward_sites))
        for loss in record.losses:
            means = [op for op in loss.ops if op.reduction == "mean"]
            if loss.site == site and means and len(means) == len(loss.ops):
                scalings = sum(node.name in SCALING for node in loss.ends)
                if scalings and not (
                    optimizer.through_scaler and scalings <= loss.looked_at_ops
                ):  # one is the scaler's
                    continue
                yield Finding(
                    f"Each of {times} steps of {optimizer.kind} used the sum of {window} mean losses, so gradients {window} times "
                    "as large as one batch of that size would give.",
                    site,
                    f"(loss / {window}).backward()",
                    {"batches a step": window, "steps": optimizer.steps},
                    SEVERITY,
                )
