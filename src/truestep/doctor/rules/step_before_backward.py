"""The optimizer steps before `backward` has computed the gradients of the batch.

The first step has no gradients, and every later one those of an earlier batch; where gradients are cleared in between,
it has none at all and nothing is learnt.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.step()  # <- here
        loss.backward()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

Not a mistake: a single step ahead of training, which some schedules are quieted with.

Source: https://github.com/patrickloeber/pytorchTutorial/issues/19
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import stepped_first
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = [
    "gradients-cleared-before-step",
    "gradients-not-cleared",
    "step-without-gradients",
    "gradients-clipped-before-backward",
]


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        early = stepped_first(optimizer)
        if early:
            yield Finding(
                f"{early} of the {len(optimizer.windows)} steps of {optimizer.kind} looked at came between a forward pass and "
                "its backward, so with none or the last batch's gradients.",
                optimizer.step_sites.most_common(1)[0][0],
                "loss.backward()  # before this line",
                {"steps looked at": len(optimizer.windows), "before backward": early, "steps": optimizer.steps},
            )
