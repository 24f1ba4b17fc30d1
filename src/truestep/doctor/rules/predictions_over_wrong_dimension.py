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

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.record import CallFacts, ModelFacts, Record, Site

SEVERITY = "error"
SAME = ("detach", "cpu", "float", "numpy", "softmax", "log_softmax", "exp")


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
            if model.reached and call.site is not None and len(call.output) in (2, 4) and call.times >= 2:
                for line, text in _over_batch(record, model, call):
                    yield Finding(
                        f"'{text}' of scores of shape {call.output} chooses among the {call.output[0]} examples of the batch; "
                        "the loss has the classes in dimension 1.",
                        Site(call.site.file, line),
                        f"{text[:-2]}1)" if text.endswith("0)") else "scores.argmax(dim=1)",
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
    """Yield what is chosen over dimension 0, of outputs whose classes the loss has in dimension 1, and is compared."""
    around, statement = sites.function(call.site), sites.statement(call.site)
    shape = call.output
    learnt = {
        op.input_shape[1:2]
        for loss in record.losses
        for one in model.calls
        if one.losses.get(loss.number)
        for op in loss.ops
        if op.kind == "nll" and len(op.input_shape) == len(shape)
    }
    if learnt != {shape[1:2]} or around is None or call.site is None:
        return
    own = {p.shape[:1] for p in record.parameters if p.model == model.number}
    if len(shape) == 2 and shape[1:] not in own:
        return  # as many columns as examples, not as classes: similarities of all pairs
    name = ""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.value, ast.Call):
        name = ast.unparse(statement.targets[0])
    over: list[tuple[int, str]] = []
    for function, scores, since in [(around, name, call.site.line), *_given_to(call.site, around, name)]:
        for line, text, dim in _compared_choices(function, scores, since, call.site.line):
            if dim in ("1", "-1") and len(shape) == 2:
                return  # read both ways
            over.extend([(line, text)] if dim == "0" else [])
    yield from over[:1]


def _given_to(site: Site, around: source.Function, name: str) -> Iterator[tuple[source.Function, str, int]]:
    """Yield the functions of the file that are given what has a name, what they call it, and their line."""
    defined = source.functions(site.file)
    for node in ast.walk(around):
        if isinstance(node, ast.Call) and node.lineno > site.line and name:
            for function in (one for one in defined if one.name == source.name_of(node.func)):
                arguments = [one.arg for one in function.args.args]
                arguments = arguments[1:] if arguments[:1] == ["self"] else arguments
                for argument, value in zip(arguments, node.args, strict=False):
                    if ast.unparse(value) == name:
                        yield function, argument, function.lineno


def _compared_choices(around: source.Function, name: str, since: int, called: int) -> Iterator[tuple[int, str, str]]:
    """Yield what is chosen of something after a line and is compared: the line, the text, the dimension."""
    lines = sorted(source.own_statements(around), key=lambda one: one.lineno)
    given = [one.lineno for one in lines if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name]
    nodes = [(line, node) for line in lines for node in source.expressions(line)]
    compared = [side for _, node in nodes for side in _compared(node)]
    for line, node in nodes:
        scores, dim = _chosen(node)
        direct = isinstance(scores, ast.Call) and scores.lineno == called
        of_name = scores is not None and ast.unparse(scores) == name and line.lineno > since
        if direct or (of_name and not any(since < at < line.lineno for at in given)):
            made = source.targets_of(line) - {"_"}
            if any(ast.unparse(side) in made or node in ast.walk(side) for side in compared):
                yield getattr(node, "lineno", line.lineno), ast.unparse(node), dim


def _compared(node: ast.AST) -> list[ast.expr]:
    """Return the sides of a comparison, `a == b` or `a.eq(b)`."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("eq", "equal"):
        return [node.func.value, *node.args]
    return []


def _chosen(node: ast.AST) -> tuple[ast.expr | None, str]:
    """Return what the largest is chosen of, and over which dimension: of `torch.max(outputs.data, 0)` outputs and "0"."""
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Attribute)
        or node.func.attr not in ("argmax", "max")
    ):
        return None, ""
    arguments = list(node.args)
    scores = node.func.value
    if ast.unparse(scores) in ("torch", "np", "numpy"):
        scores = arguments.pop(0) if arguments else scores
    dims = [*arguments, *(word.value for word in node.keywords if word.arg in ("dim", "axis"))]
    while True:  # the same order of the same numbers
        if isinstance(scores, ast.Attribute) and scores.attr == "data":
            scores = scores.value
        elif (
            isinstance(scores, ast.Call)
            and source.name_of(scores.func) in SAME
            and isinstance(scores.func, ast.Attribute)
        ):
            module = ast.unparse(scores.func.value) in ("torch", "F", "nn.functional", "torch.nn.functional")
            scores = scores.args[0] if module and scores.args else scores.func.value
        else:
            return scores, ast.unparse(dims[0]) if dims else ""


def _wrong(call: CallFacts) -> Iterator[tuple[int, str]]:
    """Yield the comparisons with an argmax over everything that a call gave."""
    around, statement = sites.function(call.site), sites.statement(call.site)
    if around is None or call.site is None:
        return
    names: set[str] = set()
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and len(statement.targets) == 1:
        names.add(ast.unparse(statement.targets[0]))
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
            if (name in names and statement is not None and last == statement.lineno) or direct:
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
