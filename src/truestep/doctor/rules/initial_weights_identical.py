"""The units of several layers start with the same weights.

Units that begin alike get the same gradient and stay alike for ever: a layer of a hundred of them is worth one. Weights
that all start at 0 in two layers or more learn nothing at all. Where it is one layer only, random weights behind it pull
its units apart with time, and this is a note.

Bad::

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, 0.1)  # <- here
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for layer in (model[0], model[2]):
        nn.init.xavier_uniform_(layer.weight)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: zeros in a last layer or in residual branches, adapters that begin at 0, biases, scales of norms.

Source: https://github.com/HomericIntelligence/Mnemosyne/pull/1987
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import filled
from truestep.doctor.record import Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        nothing = len(model.zero) >= 2 and len(model.zero) == model.matrices
        lasting = len(model.alike) >= 2 or nothing or bool(model.even)
        if not model.reached or model.pretrained or not (lasting or model.alike):
            continue
        names = model.zero if nothing else model.alike if not model.even else model.even
        count = max(model.matrices, len(names))
        site = model.calls[0].site if model.calls else None
        yield Finding(
            f"{len(names)} of {count} weight matrices of {model.kind} ({', '.join(names[:3])}) began with all rows the "
            f"same{', 0' if nothing else ''}.",
            filled(site) or site,
            "nn.init.kaiming_uniform_(layer.weight), or leave PyTorch's own initial weights",
            {"matrices": count, "with equal rows": len(names)},
            "error" if lasting else "note",
        )
