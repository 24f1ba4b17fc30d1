"""Updates are so small beside the weights that rounding swallows them.

bfloat16 keeps eight bits of a number: adding a thousandth of it changes nothing. With weights of 16 bits and a common
learning rate, most weights do not move, however long training goes on.

Bad::

    model.bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)  # <- here
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs.bfloat16()), targets).backward()
            optimizer.step()

Good::

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()

Not a mistake: the first steps of a warm-up and the last of a schedule; a rate of zero; weights of 32 bits beside those of
16, which the optimizer updates.

Source: https://github.com/pytorch/pytorch/issues/101278
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        lost = sum(share >= 0.8 for share in optimizer.unchanged)
        if len(optimizer.unchanged) >= 4 and lost >= 0.8 * len(optimizer.unchanged):
            shares = sorted(optimizer.unchanged)
            middle = shares[len(shares) // 2]
            rate = optimizer.learning_rates[-1][1] if optimizer.learning_rates else 0.0
            yield Finding(
                f"In {lost} of {len(shares)} steps looked at, at least 80 % of the weights with a gradient stayed bitwise as they "
                f"were (half of the time {middle:.0%}): at a rate of {rate:g}, rounding to 16 bits swallows the update.",
                optimizer.site,
                "keep the weights in float32, and compute in 16 bits with torch.autocast",
                {"steps looked at": len(shares), "median share unchanged": round(middle, 4), "learning rate": rate},
                SEVERITY,
            )
