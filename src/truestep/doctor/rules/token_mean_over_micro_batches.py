"""Batches of one step are averaged each by its own number of tokens, and then with each other.

Where the batches of an accumulated step hold different numbers of targets that count, the tokens of a batch with few
weigh more than those of a batch with many. The result is not that of one large batch, however the loss is divided.

Bad::

    for epoch in range(3):
        for number, (inputs, targets) in enumerate(loader, 1):
            targets = torch.where(torch.rand(16) < number / 7, targets, -100)
            (F.cross_entropy(model(inputs), targets) / 2).backward()  # <- here
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()

Good::

    for epoch in range(3):
        for number, (inputs, targets) in enumerate(loader, 1):
            targets = torch.where(torch.rand(16) < number / 7, targets, -100)
            (F.cross_entropy(model(inputs), targets, reduction="sum") / 16).backward()
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()

Not a mistake: a sum over tokens that is divided by the number in the whole step; batches with nearly equal numbers; a
mean that is multiplied by its share.

Source: https://github.com/huggingface/transformers/issues/35438
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "warning"
HIDES = ["loss-not-scaled-for-accumulation"]


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        window, times = optimizer.micro_batches.most_common(1)[0] if optimizer.micro_batches else (0, 0)
        if window < 2 or times < 3 or optimizer.closures or optimizer.zeroed or len(optimizer.backward_sites) != 1:
            continue
        for loss in record.losses:
            ops = [op for op in loss.ops if op.kind == "nll" and op.reduction == "mean"]
            counts = [op.facts["counted"] for op in ops if 0 < op.facts.get("counted", 0) <= op.facts.get("targets", 0)]
            ignoring = sum(op.facts.get("counted", 0) < op.facts.get("targets", 0) for op in ops)
            if (
                loss.site not in optimizer.backward_sites
                or len(counts) < 4
                or ignoring < 3
                or len(loss.ops) != len(ops)
            ):
                continue
            if max(counts) < 1.25 * min(counts) or any(node.name == "MulBackward0" for node in loss.ends):
                continue
            yield Finding(
                f"Steps of {optimizer.kind} are made of {window} batches, each averaged by itself, though they hold from "
                f"{min(counts)} to {max(counts)} targets that count.",
                ops[0].site or loss.site,
                'reduction="sum", divided by the number of targets that count in all batches of the step',
                {"batches a step": window, "fewest targets": min(counts), "most targets": max(counts)},
                SEVERITY,
            )
