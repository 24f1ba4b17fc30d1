"""The model is evaluated in training mode.

Dropout goes on throwing units away and batch norm uses the batch at hand, and learns from it. The reported number is
that of another, noisier model; it changes from run to run, with the batch size and with the order of the batches.

Bad::

    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)  # <- here
        print(hits / 32)

Good::

    for epoch in range(2):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)
        print(hits / 32)

Not a mistake: Monte Carlo dropout, refreshing batch norm's statistics, pseudo-labels made in training mode, the accuracy
of the training batch itself, or a model without dropout and batch norm.

Source: https://github.com/wolny/pytorch-3dunet/issues/53
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import evaluations
from truestep.doctor.record import Record

SEVERITY = "error"
HIDES = ["gradients-kept-in-evaluation"]


def look(record: Record) -> Iterator[Finding]:
    for model, call in evaluations(record):
        change = model.probes.get("modes")
        if not call.training or not call.restless or change is None or change < 1e-3:
            continue
        parts = ", ".join(call.restless[:3]) + (" and others" if len(call.restless) > 3 else "")
        yield Finding(
            f"{call.untrained} calls for evaluation ran with {parts} in training mode; in evaluation mode the outputs of a "
            f"batch move by up to {change:.2g} of their standard deviation.",
            call.site,
            "model.eval()  # before the evaluation, and model.train() before training goes on",
            {
                "calls": call.untrained,
                "parts in training mode": len(call.restless),
                "change in evaluation mode": change,
            },
        )
