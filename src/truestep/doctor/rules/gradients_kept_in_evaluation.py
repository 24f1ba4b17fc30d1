"""The model is evaluated with gradients on, and nobody uses them.

Without `torch.no_grad()` each call keeps what a backward would need, until its outputs are gone: an evaluation takes
more memory and time than it needs. The numbers are right.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    hits = 0
    for _ in range(2):
        for inputs, targets in held_out:
            hits += (model(inputs).argmax(1) == targets).sum().item()  # <- here

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    hits = 0
    with torch.no_grad():
        for _ in range(2):
            for inputs, targets in held_out:
                hits += (model(inputs).argmax(1) == targets).sum().item()

Not a mistake: an evaluation that takes gradients itself, such as attacks or physics-informed models.

Source: https://github.com/hszhao/semseg/issues/60
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import evaluations
from truestep.doctor.record import Record

SEVERITY = "note"


def look(record: Record) -> Iterator[Finding]:
    for _, call in evaluations(record):
        # In evaluation mode each is one: a whole test set may come in one call.
        if call.gradients and call.untrained >= 3 and (call.consecutive >= 2 or not call.training):
            yield Finding(
                f"{call.untrained} calls, up to {call.consecutive} in a row, kept what a backward needs, and none came.",
                call.site,
                "with torch.no_grad():  # around the evaluation",
                {"calls": call.untrained, "in a row": call.consecutive},
                "note",
            )
