"""The optimizer updates parameters that the model no longer has.

An optimizer keeps the tensors that it was given. When the model, or a layer of it, is made anew afterwards, the new
weights are in no optimizer: gradients reach them and nothing changes them, while steps run over tensors that nobody uses.

Bad::

    model[3] = nn.Linear(16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # <- here
    model[0], model[3] = nn.Linear(8, 16), nn.Linear(16, 3)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    model[0], model[3] = nn.Linear(8, 16), nn.Linear(16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Not a mistake: parameters that get no gradient for a while, as those of experts or of a part that is trained later; copies
that follow the model by an average.

Source: https://github.com/microsoft/nni/issues/4521
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import unowned
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = [
    "parameters-not-in-optimizer",
    "parameters-never-reached",
    "step-without-gradients",
    "module-not-registered",
    "step-never-called",
]


def look(record: Record) -> Iterator[Finding]:
    new = [p for p in unowned(record) if p.parameter and not p.moved]
    for optimizer in record.optimizers:
        orphans = [p for p in record.parameters if p.orphan and p.idle >= 3]
        old = [p for p in orphans if optimizer.number == max(p.optimizers, default=-1)]  # the one that steps now
        shapes, names = {p.shape for p in old}, {(p.model, p.name) for p in old if p.name}
        instead = [p for p in new if p.shape in shapes or (p.model, p.name) in names]
        if not instead or optimizer.steps < 3:
            continue
        yield Finding(
            f"{len(old)} of {optimizer.parameters} parameters of {optimizer.kind} belong to no model and get no gradient, while "
            f"{len(instead)} in their place get gradients and are in no optimizer: "
            f"{', '.join(p.name for p in instead[:3])}{' ...' if len(instead) > 3 else ''}.",
            optimizer.site,
            "make the optimizer after the last change of the model's layers",
            {"stale": len(old), "in no optimizer": len(instead), "steps": optimizer.steps},
        )
