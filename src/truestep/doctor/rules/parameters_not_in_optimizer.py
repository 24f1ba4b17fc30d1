"""Losses reach parameters that no optimizer was given, so that they keep their initial values.

The rest of the model learns to make do with random features. Training looks right and ends worse than it could. It
happens with two modules of which one is handed over, with a layer that was added later, and with parameter groups that
forget a part.

Bad::

    encoder = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # <- here
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(encoder(inputs)), targets).backward()
            optimizer.step()

Good::

    encoder = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    optimizer = torch.optim.SGD([*encoder.parameters(), *model.parameters()], lr=0.1)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(encoder(inputs)), targets).backward()
            optimizer.step()

Not a mistake: a backbone whose weights were loaded, a part that stands in evaluation mode, weights that are updated by
hand or by a second optimizer, or an optimizer of inputs instead of weights. Parameters that shall stay as they are say so
by `requires_grad_(False)`.

Source: https://github.com/zjunlp/HVPNeT/issues/5
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import named_to_stay, optimizers_beside, unowned
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    forgotten = [
        p
        for p in unowned(record)
        if p.model >= 0
        and p.hidden is None
        and not p.foreign
        and (p.unfrozen or not p.loaded)
        and p.reached_evaluating < 0.5 * p.reached
        and not named_to_stay(record, p)
    ]
    by_hand = {p.model for p in record.parameters if p.moved and not p.optimizers}
    owners: defaultdict[int, set[int]] = defaultdict(set)
    for p in record.parameters:
        owners[p.model] |= p.optimizers
    for optimizer in record.optimizers:
        own = [
            p
            for p in forgotten
            if p.model not in by_hand
            and optimizer in (beside := optimizers_beside(record, p))
            # Of several, one that has other parts of the model, as a generator's beside its judge's.
            and (optimizer.number in owners[p.model] or not any(o.number in owners[p.model] for o in beside))
        ]
        if not own:
            continue
        elements = sum(p.elements for p in own)
        models = sorted({record.models[p.model].kind for p in own})
        yield Finding(
            f"Losses reach {len(own)} parameters with {elements:,} numbers that no optimizer has, of {', '.join(models)}: "
            f"{', '.join(p.name for p in own[:3])}{' ...' if len(own) > 3 else ''}; they kept their initial values in "
            f"{optimizer.steps} steps.",
            optimizer.site,
            "give the optimizer the parameters of every part that shall learn; set requires_grad_(False) on the others",
            {"parameters": len(own), "numbers": elements, "steps": optimizer.steps},
            SEVERITY,
        )
        return
