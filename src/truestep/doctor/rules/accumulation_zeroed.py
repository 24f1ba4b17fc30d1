"""Gradients are accumulated over several batches, but cleared with each of them.

Only the last batch of each window counts: the others were computed for nothing, and the effective batch size is a part of
what was meant.

Bad::

    for epoch in range(4):
        for number, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()  # <- here
            (F.cross_entropy(model(inputs), targets) / 2).backward()
            if number % 2 == 0:
                optimizer.step()

Good::

    for epoch in range(4):
        for number, (inputs, targets) in enumerate(loader, 1):
            (F.cross_entropy(model(inputs), targets) / 2).backward()
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()

Not a mistake: a first backward whose gradients are used by hand before they are cleared, to move the weights aside or to
collect them; a pass that only measures.

Source: https://github.com/huggingface/accelerate/issues/1299
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["accumulation-window-dropped"]


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        if optimizer.zeroed < 3 or optimizer.zeroed < 0.8 * optimizer.looked_at or optimizer.closures:
            continue
        yield Finding(
            f"{optimizer.steps} steps of {optimizer.kind} came after several backward passes each, but in {optimizer.zeroed} "
            f"of {optimizer.looked_at} looked at the gradients were those of the last one alone.",
            optimizer.zeroed_sites.most_common(1)[0][0],
            "clear gradients only after a step",
            {
                "steps": optimizer.steps,
                "backward passes cleared in vain, in steps looked at": optimizer.zeroed_backwards,
            },
        )
