"""Gradients are computed and cleared again and again, but no step ever uses them.

Nothing raises an error: the loop runs, losses are printed, and they only differ by the batch.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()  # <- here

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

Not a mistake: gradients that are looked at or applied by hand; a scaler that leaves out steps with infinite gradients.

Source: https://github.com/rll/deepul/issues/12
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import OptimizerFacts, Record, Site

SEVERITY = "error"
HIDES = ["parameters-not-in-optimizer", "scheduler-for-another-optimizer"]


def look(record: Record) -> Iterator[Finding]:
    stepping = {o.number for o in record.optimizers if o.steps or o.through_scaler}
    for optimizer in record.optimizers:
        backwards = sum(optimizer.backward_sites.values())
        own = [p for p in record.parameters if optimizer.number in p.optimizers]
        if optimizer.steps or optimizer.through_scaler or backwards < 3 or not own or not record.finished:
            continue
        if any(p.moved or p.loaded for p in own) or any(p.optimizers & stepping for p in own):
            continue
        if optimizer.clears < (3 if stepping else 2):
            continue
        yield Finding(
            f"{backwards} backward passes gave gradients to {optimizer.kind} and {optimizer.clears} times they were cleared, "
            "but its step was never called, and the parameters never changed.",
            last_backward(record, optimizer),
            "optimizer.step()  # after this line",
            {"backward passes": backwards, "cleared": optimizer.clears, "steps": 0},
        )


def last_backward(record: Record, optimizer: OptimizerFacts) -> Site | None:
    """Return the last line of those that give it gradients, without those that are for models of other optimizers too."""
    others = {model.number for model in record.models if set(model.owned_by) - {optimizer.number}}
    foreign = {one.site for one in record.losses if any(one.reached_of_models[number] for number in others)}
    sites = [site for site in optimizer.backward_sites if site is not None]
    return max([site for site in sites if site not in foreign] or sites, key=lambda site: site.line, default=None)
