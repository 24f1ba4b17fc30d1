"""A part of the model is frozen that is still to learn.

Its weights are the random ones that it was made with, as a layer between loaded ones; or an evaluation freezes it, to
take no gradients, and no line lets it go again: from the second epoch on it stands still. The rest of the model learns
around it. `module.requires_grad = True` does nothing either: it is only a new attribute of the module.

Bad::

    for epoch in range(3):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        for parameter in model[0].parameters():
            parameter.requires_grad = False  # <- here
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)

Good::

    for epoch in range(3):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)

Not a mistake: weights that were loaded or trained before, layers that are frozen one after another, judges that are
frozen in turn. Reservoirs and random features are meant to be random: where nothing was loaded at all, this is a note.

Source: https://github.com/jfzhang95/pytorch-deeplab-xception/issues/140
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import named_to_stay
from truestep.doctor.record import ModelFacts, ParameterFacts, Record, Site

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        own = [p for p in record.parameters if p.model == model.number and p.looks >= 2]
        if sum(call.trained for call in model.calls) < 3:
            continue
        files = dict.fromkeys(site.file for call in model.calls for site in call.stack)
        yield from while_evaluating(record, model, own, list(files))
        vain = list(in_vain(model, own, list(files)))
        yield from vain
        if vain:
            continue
        frozen = [
            p
            for p in own
            if p.frozen == p.looks
            and len(p.shape) > 1
            and not (p.loaded or p.foreign or p.moved or p.evaluating or named_to_stay(record, p))
        ]
        line = freezing(next((call.site for call in model.calls if call.trained), None))
        if not frozen or line is None or not any(p.moved for p in own):  # without that, another part is being trained
            continue
        between = [p for p in frozen if p.fresh and any(_frozen_as_learnt(q, p) for q in own)]
        elements, everything = sum(p.elements for p in between or frozen), sum(p.elements for p in own)
        if not between and (elements < 0.5 * everything or model.pretrained):
            continue
        yield Finding(
            f"{elements:,} of {everything:,} numbers of {model.kind} are frozen at the random values that they were made with"
            f"{', together with loaded or trained ones' if between else ''}: {listed(between or frozen)}.",
            line,
            "load weights before freezing them, or freeze less",
            {"frozen": elements, "of": everything},
            "warning" if between else "note",
        )


def _frozen_as_learnt(one: ParameterFacts, fresh: ParameterFacts) -> bool:
    """Whether a weight that was loaded is frozen beside a fresh one, or one that learnt was frozen when that one was."""
    together = one.moved and one.frozen_since == fresh.frozen_since > 0
    return together or (one.loaded and one.frozen == one.looks)


def while_evaluating(
    record: Record, model: ModelFacts, own: list[ParameterFacts], files: list[str]
) -> Iterator[Finding]:
    """Find what learnt until an evaluation froze it, while the same optimizer goes on with the rest."""
    frozen = [p for p in own if p.frozen_since > 0 and p.gradients and p.optimizers]
    going_on = {number for p in own if p.frozen_since < 0 and p.gradients >= 3 for number in p.optimizers}
    frozen = [p for p in frozen if p.optimizers & going_on and not named_to_stay(record, p)]
    if not frozen or len({p.frozen_since for p in frozen}) > 1 or min(p.frozen for p in frozen) < 2:
        return  # one after another: on purpose
    line = next((line for file in files if (line := freezing_of_evaluation(file)) is not None), None)
    if line is None or sum(model.eval_sites.values()) < 2:
        return
    elements, everything = sum(p.elements for p in frozen), sum(p.elements for p in own)
    yield Finding(
        f"{elements:,} of {everything:,} numbers of {model.kind} learnt until an evaluation froze them, before optimizer step "
        f"{frozen[0].frozen_since + 1}, and no line lets them go again: {listed(frozen)}.",
        line,
        "with torch.no_grad():  # around the evaluation, instead of freezing",
        {"frozen": elements, "of": everything, "since step": frozen[0].frozen_since + 1},
        "warning",
    )


def in_vain(model: ModelFacts, own: list[ParameterFacts], files: list[str]) -> Iterator[Finding]:
    """Find `module.requires_grad = True`, which only gives the module an attribute, where its parameters stay frozen."""
    for name in model.flagged:
        inside = [p for p in own if p.name.startswith(f"{name}." if name else "")]
        still = [p for p in inside if p.frozen_since >= 0]
        line = next((line for file in files if (line := flagging(file, name)) is not None), None)
        if still and len(still) == len(inside) and line is not None:
            yield Finding(
                f"'{name}.requires_grad = True' only gives the module an attribute: its {len(still)} parameters are frozen "
                "still.",
                line,
                f"{name}.requires_grad_(True)",
                {"frozen": sum(p.elements for p in still)},
                "warning",
            )


def listed(parameters: list[ParameterFacts]) -> str:
    return f"{', '.join(p.name for p in parameters[:3])}{' ...' if len(parameters) > 3 else ''}"


def sets(node: ast.AST, *, to: bool) -> bool:
    """Whether a piece of code sets `requires_grad` to True or False."""
    if isinstance(node, ast.Assign) and any(source.name_of(one) == "requires_grad" for one in node.targets):
        return isinstance(node.value, ast.Constant) and node.value.value is to
    if isinstance(node, ast.Call) and source.name_of(node.func) == "requires_grad_":
        value = node.args[0] if node.args else next((one.value for one in node.keywords), ast.Constant(value=True))
        return isinstance(value, ast.Constant) and value.value is to
    return False


def freezing(call: Site | None) -> Site | None:
    """Return the line of a file that sets `requires_grad` to False."""
    module = sites.tree(call.file) if call is not None else None
    for node in ast.walk(module or ast.Module([], [])):
        if call is not None and sets(node, to=False):
            return Site(call.file, getattr(node, "lineno", 0))
    return None


def freezing_of_evaluation(file: str) -> Site | None:
    """Return the line that freezes right behind a call of `eval()`, whenever that is called, if none lets go again."""
    module = sites.tree(file)
    nodes = list(ast.walk(module)) if module is not None else []
    if any(sets(node, to=True) for node in nodes) or any(_of_a_variable(node) for node in nodes):
        return None
    for node in nodes:
        block = getattr(node, "body", None)
        evaluating = False
        for statement in block if isinstance(block, list) else []:
            plain = isinstance(statement, ast.Expr | ast.For)  # what an `if` guards is meant for some epoch
            freezes = [part for part in ast.walk(statement) if sets(part, to=False)] if evaluating and plain else []
            guarded = any(isinstance(part, ast.If) for part in ast.walk(statement))
            indexed = any(
                isinstance(part, ast.Subscript) and source.names_in(part.slice) for part in ast.walk(statement)
            )
            if freezes and not guarded and not indexed:
                return Site(file, getattr(freezes[0], "lineno", 0))
            called = statement.value if isinstance(statement, ast.Expr) else None
            evaluating = evaluating or (isinstance(called, ast.Call) and source.name_of(called.func) == "eval")
    return None


def _of_a_variable(node: ast.AST) -> bool:
    """Whether a piece of code sets `requires_grad` to what is only known as it runs, as toggles do."""
    value = node.value if isinstance(node, ast.Assign) else None
    named = value is not None and any(source.name_of(one) == "requires_grad" for one in getattr(node, "targets", []))
    if isinstance(node, ast.Call) and source.name_of(node.func) == "requires_grad_" and node.args:
        value, named = node.args[0], True
    return named and not isinstance(value, ast.Constant)


def flagging(file: str, name: str) -> Site | None:
    """Return the line that assigns `.requires_grad = True` to what is called like a part of a model."""
    module = sites.tree(file)
    for node in ast.walk(module) if module is not None else ():
        if not isinstance(node, ast.Assign) or not sets(node, to=True):
            continue
        for target in node.targets:
            if isinstance(target, ast.Attribute) and source.name_of(target.value) in (name.rpartition(".")[2], "model"):
                return Site(file, node.lineno)
    return None
