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

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import loops
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
        calls = [(model, call) for model in record.models for call in model.calls if call.site]
        blind = {call.site for model, call in calls if model.owned_by and call.training and not call.gradients}
        site = place(loss, {call.site for _, call in calls if call.site}, blind if loss.leaf else set())
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


def between(cut: Site, statement: ast.stmt, made: Site, models: set[Site]) -> bool:
    """Whether a cut stands between the last call of a model and the line that makes a new tensor of what was cut."""
    if sites.function(made) is not sites.function(cut):
        return False
    asked = [site.line for site in models if site.file == made.file and site.line < made.line]
    if not asked or cut.line > max(asked):
        return bool(asked) or loops(made)[:1] == loops(cut)[:1]
    inner = (node.func.value for node in ast.walk(statement) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
             and node.func.attr in source.CUTTING_METHODS)  # fmt: skip
    return cut.line == max(asked) and any(isinstance(one, ast.Call) for value in inner for one in ast.walk(value))


def later(site: Site, loss: Site | None) -> bool:
    """Whether a line comes after a loss's own in its function."""
    return loss is not None and sites.function(site) is sites.function(loss) and site.line > loss.line


def place(loss: LossFacts, models: set[Site], blind: set[Site | None]) -> Site | None:
    """Return the nearest statement behind the loss that takes a value out of its graph.

    Args:
        loss: whose graph is cut.
        models: the lines that call models.
        blind: those that call, in training mode and without gradients, models that an optimizer is to train.
    """
    switch = late = made = None
    for statement, site in source.made_by(loss.site):
        cuts = set(source.cuts_in(statement))
        lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        around = next((source.without_gradients_around(one) for one in blind if one and one.line in lines), None)
        if around is not None and around.file == site.file and not later(site, loss.site):
            return around
        if cuts & {"item", "detach", "detach_", "data", "numpy", "tolist"}:
            return site if made is None or between(site, statement, made, models) else made
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
