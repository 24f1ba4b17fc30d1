"""The last batches of an epoch are accumulated but never make a step of their own.

The number of batches is no multiple of the window. What is left over is thrown away with the next clearing, or mixed into
the next epoch's first step, which is then larger than the others.

Bad::

    for epoch in range(4):
        optimizer.zero_grad()
        for number, (inputs, targets) in enumerate(loader, 1):
            (F.cross_entropy(model(inputs), targets) / 4).backward()
            if number % 4 == 0:
                optimizer.step()  # <- here
                optimizer.zero_grad()

Good::

    for epoch in range(4):
        optimizer.zero_grad()
        for number, (inputs, targets) in enumerate(loader, 1):
            (F.cross_entropy(model(inputs), targets) / 3).backward()
            if number % 3 == 0:
                optimizer.step()
                optimizer.zero_grad()

Not a mistake: windows that go on into the next epoch on purpose, with the same number of batches each.

Source: https://github.com/Deci-AI/super-gradients/issues/653
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "note"


def look(record: Record) -> Iterator[Finding]:
    epochs = sum(one.complete and one.steps > 0 for loader in record.loaders for one in loader.passes)
    for optimizer in record.optimizers:
        if optimizer.steps < 3 or epochs < 1 or optimizer.closures or optimizer.zeroed:
            continue
        window = min(optimizer.micro_batches, default=0)
        longer = sum(times for k, times in optimizer.micro_batches.items() if k > window)
        dropped = sum(times for k, times in optimizer.dropped.items() if k < window)
        left = optimizer.left_over
        lost = longer + dropped >= epochs - 1 if left else dropped >= epochs  # now and then, or by each epoch's end
        if window < 2 or left >= window or not lost:
            continue
        yield Finding(
            f"Steps of {optimizer.kind} are made of {window} batches each, but {optimizer.left_over} were left over at the end, "
            f"{dropped} times some were cleared unused, and {longer} steps had more than {window}.",
            optimizer.step_sites.most_common(1)[0][0],
            "also step after the last batch: if number % window == 0 or number == len(loader)",
            {
                "batches a step": window,
                "left over": optimizer.left_over,
                "cleared unused": dropped,
                "larger steps": longer,
            },
            SEVERITY,
        )
