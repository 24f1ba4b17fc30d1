"""A layer of ReLUs gives nothing but zeros.

Where every unit of a layer is 0 for every example, no gradient passes: what lies below learns nothing any more, and the
model says the same for all inputs. A first step that was far too long, or biases far below 0, does this.

Bad::

    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    nn.init.constant_(model[0].bias, -50.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        scores = model(inputs)  # <- here
        F.cross_entropy(scores, targets).backward()
        optimizer.step()

Good::

    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        scores = model(inputs)
        F.cross_entropy(scores, targets).backward()
        optimizer.step()

Not a mistake: single units that rest, experts that no example is sent to.

Source: https://github.com/keras-team/keras/issues/7057
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import overshot
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    if overshot(record):
        return  # units died of the learning rate
    for loss in record.losses:
        dead = [one for one in loss.rectified.values() if one.since >= 0 and one.silent >= max(3, 0.5 * one.seen)]
        if not dead or len(loss.rectified) < 1:
            continue
        calls = [call for model in record.models for call in model.calls if call.losses.get(loss.number)]
        site = max(calls, key=lambda call: call.trained).site if calls else loss.site
        yield Finding(
            f"{len(dead)} of {len(loss.rectified)} ReLU layers gave only zeros, for whole batches, in {dead[0].silent} of "
            f"{dead[0].seen} backward passes looked at, the last ones among them.",
            site,
            "a lower learning rate, PyTorch's own initial weights, or LeakyReLU",
            {"layers": len(dead), "since optimizer step": min(one.since for one in dead)},
            "warning",
            [one.site for one in dead if one.site],
        )
