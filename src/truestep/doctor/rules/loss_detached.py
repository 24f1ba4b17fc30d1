"""The loss is cut off from the model, so that no gradient reaches it.

`.item()`, `torch.tensor(loss)`, `.data`, numpy and `argmax` return numbers without a history. `requires_grad_()` silences
the error that `backward` would raise, and makes a new leaf: the gradient ends there, and every step changes nothing.
The loss stays where it was.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        predictions = model(inputs).argmax(1).float()  # <- here
        loss = F.mse_loss(predictions.requires_grad_(), targets.float())
        loss.backward()
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

Not a mistake: gradients for an input that an attack or a visualisation needs, after which no step follows; an input
that an optimizer itself changes.

Source: https://github.com/ronghuaiyang/arcface-pytorch/issues/56
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.record import LossFacts, Record, Site

SEVERITY = "error"
HIDES = [
    "step-without-gradients",
    "parameters-never-reached",
    "parameters-not-in-optimizer",
    "gradients-clipped-of-nothing",
    "step-never-called",
]


def look(record: Record) -> Iterator[Finding]:
    for loss in record.losses:
        cut = sum(reached == 0 for reached in loss.parameters_reached)
        if cut < 3 or cut < 0.8 * loss.looked_at:
            continue
        idle = [o for o in record.optimizers if o.steps >= 3]
        idle = [o for o in idle if o.without_gradients >= 0.8 * o.steps or o.with_zero_gradients >= 0.8 * o.looked_at]
        stepped = any(o.steps >= 3 for o in record.optimizers)
        if not (idle or (loss.leaf and stepped)):
            continue
        site = place(loss)
        if site is None and not loss.leaf:
            continue
        steps = idle[0].steps if idle else record.steps
        yield Finding(
            f"In {cut} of {loss.looked_at} backward passes looked at, the loss reached no parameter of any model"
            + (f", and all {steps} steps of {idle[0].kind} had no gradient to use." if idle else "."),
            site or loss.site,
            "keep the loss a tensor that was computed from the model's outputs, and call backward on it",
            {"backward passes looked at": loss.looked_at, "that reached no parameter": cut, "steps": steps},
            related=[site for site in (loss.site,) if site],
        )


def place(loss: LossFacts) -> Site | None:
    """Return the nearest statement behind the loss that takes a value out of its graph."""
    switch = late = made = None
    for statement, site in source.made_by(loss.site):
        cuts = set(source.cuts_in(statement))
        if cuts & {"item", "detach", "detach_", "data", "numpy", "tolist"}:
            return site if made is None or sites.function(made) is sites.function(site) else made
        if "argmax" in cuts:
            late = late or site
        if cuts - {"requires_grad", "requires_grad_", "float", "argmax"}:
            made = made or site
        if cuts & {"requires_grad", "requires_grad_"}:
            switch = switch or site
    if made is not None:
        return made
    function = sites.function(loss.site)
    if late is None and switch is None and function is not None and loss.site is not None:
        used = source.names_in(sites.statement(loss.site) or function)
        for statement in source.own_statements(function):
            if (
                set(source.cuts_in(statement)) & {"requires_grad", "requires_grad_"}
                and source.names_in(statement) & used
            ):
                switch = Site(loss.site.file, statement.lineno)
    return late or switch
