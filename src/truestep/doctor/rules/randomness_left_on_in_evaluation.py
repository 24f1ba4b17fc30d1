"""Dropout stays on when the model is evaluated.

`F.dropout` drops unless it is told `training=self.training`, and so does attention's `dropout_p`, and an `nn.Dropout` made
anew in `forward`: `model.eval()` does not reach them. Predictions are noisy and a little worse, and no two runs of an
evaluation agree.

Bad::

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.last(F.dropout(self.first(x).relu(), 0.5))  # <- here


    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(2):
        net.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            hits = sum((net(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)

Good::

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.last(F.dropout(self.first(x).relu(), 0.5, training=self.training))


    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(2):
        net.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            hits = sum((net(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)

Not a mistake: a prenet that is to stay noisy, Monte Carlo dropout, and models that draw samples, such as variational ones.
Where `training=True` is written out, a note is all that is said.

Source: https://github.com/rixwew/pytorch-fm/issues/21
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from truestep.doctor import flow
from truestep.doctor.findings import Finding
from truestep.doctor.reading import ON_PURPOSE
from truestep.doctor.record import Record

SEVERITY = "warning"


WANTED = re.compile(r"always|prenet", re.IGNORECASE)
WRITTEN = re.compile(r"training\s*=\s*True|,\s*True\b")


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        probe = model.probes.get("random") or {}
        evaluated = sum(call.untrained for call in model.calls if not call.training)
        if not model.reached or not evaluated or not model.eval_sites or (probe.get("change") or 0) < 1e-3:
            continue
        for name, site in dict.fromkeys(probe["dropouts"]):
            if WANTED.search(flow.text_of(site)) or flow.speaks_of([site], ON_PURPOSE):
                continue
            yield Finding(
                f"'{name}' still dropped with the model in evaluation mode, in which it was called {evaluated} times; two "
                f"calls on one batch differed by {probe['change']:.2g} of the outputs' standard deviation.",
                site,
                "dropout_p=p if self.training else 0.0"
                if "attention" in name
                else "F.dropout(x, p, training=self.training)",
                {"calls in evaluation mode": evaluated, "difference of two calls": probe["change"]},
                "note" if WRITTEN.search(flow.text_of(site)) else SEVERITY,
            )
