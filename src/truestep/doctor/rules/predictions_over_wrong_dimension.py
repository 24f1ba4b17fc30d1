"""The predicted class is taken over the whole batch, not for each example.

`argmax()` without a dimension gives one place in all the scores together. Compared with the targets it still gives a
number, and that is no accuracy.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    hits = 0
    with torch.no_grad():
        for inputs, targets in held_out:
            scores = model(inputs)
            hits += (scores.argmax() == targets).sum().item()  # <- here

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    hits = 0
    with torch.no_grad():
        for inputs, targets in held_out:
            scores = model(inputs)
            hits += (scores.argmax(dim=1) == targets).sum().item()

Not a mistake: `argmax()` of one example, the best example of a batch, a matrix of similarities that is read both ways.

Source: https://github.com/Zasder3/train-CLIP/issues/6
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.record import CallFacts, ModelFacts, Record, Site

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    told = False
    for finding in _of_calls(record):
        told = True
        yield finding
    if not told:
        yield from _averaged(record)


def _of_calls(record: Record) -> Iterator[Finding]:
    """Find what is chosen of the outputs of models, where these were seen."""
    for model in record.models:
        for call in model.calls:
            if model.reached and call.site is not None and len(call.output) == 4 and call.times >= 2:
                for line, text in _over_batch(record, model, call):
                    yield Finding(
                        f"'{text}' of scores of shape {call.output} chooses among the {call.output[0]} examples of the batch; "
                        "the loss has the classes in dimension 1.",
                        Site(call.site.file, line),
                        text.replace("0)", "1)"),
                        {"scores": call.output},
                    )
    for model in record.models:
        for call in model.calls:
            if (
                model.reached
                and call.site is not None
                and len(call.output) == 2
                and min(call.output) > 1
                and call.times >= 2
            ):
                for line, text in _wrong(call):
                    yield Finding(
                        f"'{text}' of scores of shape {call.output} does not choose a class for each of {call.output[0]} "
                        "examples, and is compared with something.",
                        Site(call.site.file, line),
                        "scores.argmax(dim=1)",
                        {"scores": call.output},
                    )


def _averaged(record: Record) -> Iterator[Finding]:
    """Find the mean of comparisons with one argmax of everything, in the file of a classification."""
    classified = [loss for loss in record.losses if any(op.facts.get("classes", 0) > 1 for op in loss.ops)]
    for file in sorted({loss.site.file for loss in classified if loss.site}):
        for mean in ast.walk(sites.tree(file) or ast.Module([], [])):
            value = mean.func if isinstance(mean, ast.Call) and not mean.args and not mean.keywords else None
            if not isinstance(value, ast.Attribute) or value.attr != "mean":
                continue
            compared = value.value
            while isinstance(compared, ast.Call) and isinstance(compared.func, ast.Attribute):  # .float()
                compared = compared.func.value
            if not isinstance(compared, ast.Compare) or not isinstance(compared.ops[0], ast.Eq):
                continue
            for side in (compared.left, *compared.comparators):
                scores, dim = _argmax(side)
                if isinstance(scores, ast.Name) and dim is None and not (isinstance(side, ast.Call) and side.keywords):
                    yield Finding(
                        f"'{ast.unparse(side)}' is one place in all of '{scores.id}', and is compared with each of the targets.",
                        Site(file, side.lineno),
                        f"{scores.id}.argmax(dim=1)",
                        {"compared": ast.unparse(compared)},
                    )


def _over_batch(record: Record, model: ModelFacts, call: CallFacts) -> Iterator[tuple[int, str]]:
    """Yield the classes of pixels that are chosen over dimension 0, of outputs whose classes the loss has in dimension 1."""
    around, source = sites.function(call.site), sites.statement(call.site)
    shape = call.output
    learnt = {
        op.input_shape[1:2]
        for loss in record.losses
        for one in model.calls
        if one.losses.get(loss.number)
        for op in loss.ops
        if op.kind == "nll" and len(op.input_shape) == 4
    }
    if learnt != {shape[1:2]} or around is None or not isinstance(source, ast.Assign) or len(source.targets) != 1:
        return
    name = ast.unparse(source.targets[0])
    given = [node for node in ast.walk(around) if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name]
    if not isinstance(source.value, ast.Call) or not isinstance(source.targets[0], ast.Name):
        return
    compared = {
        ast.unparse(side)
        for node in ast.walk(around)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq)
        for side in (node.left, *node.comparators)
    }
    for node in ast.walk(around):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call) or node.lineno <= source.lineno:
            continue
        if any(source.lineno < one.lineno <= node.lineno for one in given):
            continue
        value, target = ast.unparse(node.value), node.targets[0]
        chosen = target.elts[-1] if isinstance(target, ast.Tuple) else target
        pairs = isinstance(target, ast.Tuple) and value in (
            f"torch.max({name}, 0)",
            f"{name}.max(0)",
            f"{name}.max(dim=0)",
        )
        one = value in (
            f"{name}.argmax(0)",
            f"{name}.argmax(dim=0)",
            f"torch.argmax({name}, 0)",
            f"torch.argmax({name}, dim=0)",
        )
        if (pairs or one or value == f"torch.max({name}, dim=0)") and ast.unparse(chosen) in compared:
            yield node.lineno, value


def _wrong(call: CallFacts) -> Iterator[tuple[int, str]]:
    """Yield the comparisons with an argmax over everything that a call gave."""
    around, source = sites.function(call.site), sites.statement(call.site)
    if around is None or call.site is None:
        return
    names: set[str] = set()
    if isinstance(source, ast.Assign) and isinstance(source.value, ast.Call) and len(source.targets) == 1:
        names.add(ast.unparse(source.targets[0]))
    assigned: dict[str, ast.Call] = {}
    for node in ast.walk(around):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
            assigned[node.targets[0].id] = node.value
    for node in ast.walk(around):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq):
            continue
        for side in (node.left, *node.comparators):
            value = assigned.get(side.id, side) if isinstance(side, ast.Name) else side
            scores, dim = _argmax(value)
            if scores is None or dim is not None:
                continue
            name, last = ast.unparse(scores), 0
            for other in ast.walk(around):
                if (
                    isinstance(other, ast.Assign)
                    and other.lineno <= value.lineno
                    and ast.unparse(other.targets[0]) == name
                ):
                    last = max(last, other.lineno)
            direct = isinstance(scores, ast.Call) and scores.lineno == call.site.line
            if (name in names and source is not None and last == source.lineno) or direct:
                yield value.lineno, ast.unparse(value)


def _argmax(value: ast.expr) -> tuple[ast.expr | None, str | None]:
    """Return of what an expression is the argmax, and over which dimension."""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute) or value.func.attr != "argmax":
        return None, None
    arguments = list(value.args)
    scores = (
        arguments.pop(0)
        if ast.unparse(value.func.value) in ("torch", "np", "numpy") and arguments
        else value.func.value
    )
    named = [word.value for word in value.keywords if word.arg in ("dim", "axis")]
    dims = [*arguments, *named]
    return scores, ast.unparse(dims[0]) if dims else None
