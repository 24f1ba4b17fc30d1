"""Each step also applies the gradients of earlier batches.

`backward` adds to `.grad`, and only `zero_grad` empties it. Without it every update is made of the sum of all gradients
so far: the model still learns, like one with a learning rate that grows and a memory of weights long gone. You notice
nothing but a loss that swings, or ends worse than it could. Clearing once an epoch, or the gradients of another model,
does the same.

Bad::

    for inputs, targets in loader:
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()  # <- here
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

Not a mistake: several `backward` calls before one `step`, which is gradient accumulation; gradients that another model's
loss left behind and that are cleared before they are used.

Source: https://github.com/pytorch/pytorch/issues/47175
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        if optimizer.stale >= 3 and optimizer.stale >= 0.5 * (optimizer.steps - 1):
            site = optimizer.stale_sites.most_common(1)[0][0]
            yield Finding(
                f"{optimizer.stale} of {optimizer.steps} steps of {optimizer.kind} used gradients to which this backward "
                "had added, though an earlier step had already applied them.",
                site,
                "optimizer.zero_grad()  # before this line, in every turn of the loop",
                {"steps": optimizer.steps, "with used gradients": optimizer.stale},
            )
