"""A model is given inputs on another scale than it is trained on, or than it can learn from.

It comes from scaling in one of two places only: training divides by 255 or standardises, evaluation does not, and the
model's answers there mean nothing, however well it has learnt. Or from scaling in two places: pixels that are divided by
255 twice are all next to zero, and the model sees hardly more than its biases.

Bad::

    raw = 40 * torch.randn(64, 8) + 500
    mean, std = raw.mean(0), raw.std(0)
    for epoch in range(3):
        for start in range(0, 64, 16):
            optimizer.zero_grad()
            inputs = (raw[start : start + 16] - mean) / std
            F.cross_entropy(model(inputs), labels[start : start + 16]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        predictions = model(40 * torch.randn(32, 8) + 500).argmax(1)  # <- here

Good::

    raw = 40 * torch.randn(64, 8) + 500
    mean, std = raw.mean(0), raw.std(0)
    for epoch in range(3):
        for start in range(0, 64, 16):
            optimizer.zero_grad()
            inputs = (raw[start : start + 16] - mean) / std
            F.cross_entropy(model(inputs), labels[start : start + 16]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        predictions = model((40 * torch.randn(32, 8) + 500 - mean) / std).argmax(1)

Not a mistake: other data beside the evaluation, to see how a model fails; models that scale their inputs themselves.

Source: https://github.com/4uiiurz1/pytorch-nested-unet/issues/62
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from statistics import median

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import HELD_OUT, TRAINING, identifiers, loops, verdict, words
from truestep.doctor.record import InputFacts, Record, Site

SEVERITY = "error"
ENOUGH = 12  # examples, to speak of their scale
SMALL = 10  # of which nobody would say that it has to be scaled


def look(record: Record) -> Iterator[Finding]:
    changing = {loader.number for loader in record.loaders if loader.changed_by_reading is not None}
    for model in record.models:
        if any(one.loader in changing for one in record.inputs if one.model == model.number):
            continue  # each reading scales them once more
        inputs = [one for one in record.inputs if one.model == model.number and one.floating and one.read]
        trained = [one for one in inputs if one.call.stepped and one.means and not one.computed]
        evaluated = [one for one in inputs if not one.call.trained and not one.call.gradients and one.read >= ENOUGH]
        twice = next((one for one in trained if one.whole_by_255), None)
        if twice is not None and twice.read >= ENOUGH and twice.columns >= 16:
            yield Finding(
                f"All inputs lie between 0 and {twice.high:.4f}, and are whole numbers from 0 to 255 after 255 was divided by "
                "twice.",
                _second_division(twice.call.site),
                "divide by 255 once",
                {"smallest": twice.low, "largest": twice.high},
            )
            continue
        within = next((one for one in trained if one.within is not None), None)
        if within is not None and within.within is not None and within.read >= ENOUGH and within.columns >= 16:
            low, high, line = within.within
            yield Finding(
                f"{model.kind} divides its inputs by 255, which lie between {within.low:.4g} and {within.high:.4g} already: its "
                f"first layer is given numbers between {low:.4f} and {high:.4f}.",
                _division(line),
                "divide by 255 once",
                {"smallest": low, "largest": high},
            )
            continue
        if any(one.computed for one in inputs):
            continue
        far = [
            (one, *min((_distance(one, other) for other in trained if _alike(one, other)), default=(0.0, 1.0)))
            for one in evaluated
        ]
        wrong = [(one, shift, ratio) for one, shift, ratio in far if shift > 8 or not 1 / 12 < ratio < 12]
        of_training = [found for found in wrong if found[0].loader in {other.loader for other in trained} - {-1}]
        forgotten = [
            found for found in far if (found[1] > 0.5 or not 1 / 1.5 < found[2] < 1.5) and _forgotten(found[0])
        ]
        certain = of_training or forgotten or (wrong if len(wrong) == len(far) else [])  # else to see how a model fails
        if certain:
            one, shift, ratio = certain[0]
            yield Finding(
                f"Evaluation gives {model.kind} inputs of another scale than training does: their columns' deviation is "
                f"{ratio:.3g} times that of training, and their mean lies {shift:.3g} of its deviations away.",
                once_more(trained[0].call.site, one),
                "do to these inputs exactly what was done to those of training",
                {"deviation, times": ratio, "mean moved by deviations": shift, "evaluated": one.read},
                related=[site for site in (trained[0].call.site,) if site],
            )
            continue
        table = next((one for one in record.tables if one.model == model.number), None)
        others = table is not None and table.evaluated != table.trained  # as many are those trained on, evaluated again
        if table is not None and others and table.apart >= max(3, 0.7 * table.columns) and evaluated:
            yield Finding(
                f"{table.apart} of {table.columns} columns have mean 0 and deviation 1 over the {table.trained} rows trained on, and "
                f"also over the {table.evaluated} others by themselves: these were standardised by their own statistics.",
                _fit_of_held_out(evaluated[0].call.site),
                "scale them with the mean and deviation of the training rows",
                {"trained on": table.trained, "evaluated": table.evaluated, "columns": table.apart},
                severity="warning",
            )
            continue
        if model.pretrained or any(one.rescaled for one in trained):
            continue
        for one in trained[:1]:
            if one.read >= ENOUGH and max(abs(one.low), abs(one.high)) >= 100 and one.richness >= 6:
                yield Finding(
                    f"The inputs of a fresh {model.kind} lie between {one.low:.4g} and {one.high:.4g}; its weights begin as "
                    "suits inputs of about -1 to 1.",
                    one.call.site,
                    "inputs / 255" if one.whole and one.low >= 0 and one.high <= 255 else "(inputs - mean) / std",
                    {"smallest": one.low, "largest": one.high},
                    severity="note",
                )


def once_more(training: Site | None, evaluated: InputFacts) -> Site | None:
    """Return the line at fault: the call for training if it divides numbers that are small already, else that for evaluation."""

    def divides(site: Site | None) -> bool:
        calls = [node for node in ast.walk(sites.statement(site) or ast.Pass()) if isinstance(node, ast.Call)]
        given = [part for call in calls for one in call.args for part in ast.walk(one) if isinstance(part, ast.BinOp)]
        return any(isinstance(one.op, ast.Div) and isinstance(one.right, ast.Constant) for one in given)

    small = max(abs(evaluated.low), abs(evaluated.high)) <= SMALL
    return training if small and divides(training) and not divides(evaluated.call.site) else evaluated.call.site


def _fit_of_held_out(call: Site | None) -> Site | None:
    """Return the line that fits statistics to held-out data, if the file of the model's call has one, else that call."""
    module = sites.tree(call.file) if call else None
    for node in ast.walk(module) if module is not None else ():
        if not isinstance(node, ast.Call) or source.name_of(node.func) not in ("fit", "fit_transform"):
            continue
        if call is not None and verdict(" ".join(identifiers(one) for one in node.args)) == "held out":
            return Site(call.file, node.lineno)
    return call


def _alike(one: InputFacts, other: InputFacts) -> bool:
    return other.read >= ENOUGH and one.columns == other.columns >= 4 and len(one.means) == len(other.means) > 0


def _distance(one: InputFacts, other: InputFacts) -> tuple[float, float]:
    """Return how far the mean is moved, and the ratio of deviations: the medians over columns."""
    columns = [
        (abs(m - n) / e, d / e)
        for m, d, n, e in zip(one.means, one.deviations, other.means, other.deviations, strict=True)
        if e > 1e-12 and d > 0
    ]
    return (
        (median(shift for shift, _ in columns), median(ratio for _, ratio in columns))
        if len(columns) >= 4
        else (0.0, 1.0)
    )


def _forgotten(one: InputFacts) -> bool:
    """Whether a call uses held-out data that no line scales, though one scales the training data of the same name."""
    module = sites.tree(one.call.site.file) if one.call.site else None
    if module is None:
        return False
    statements = [node for node in ast.walk(module) if isinstance(node, ast.Assign | ast.AugAssign)]
    used = set(source.names_in(sites.statement(one.call.site) or ast.Pass()))
    read = {name for loop in loops(one.call.site) if isinstance(loop, ast.For) for name in source.names_in(loop.iter)}
    used |= read | {name for made, _ in source.made_by(one.call.site, used | read) for name in source.names_in(made)}
    for statement in statements:
        for name, by in _standardised(statement) if _verdict(statement) == "training" else ():
            twin = next((other for other in sorted(used) if _twins(name, other)), None)
            if twin is None or not any(twin in source.targets_of(node) for node in statements):
                continue
            touching = [source.names_in(node.value) for node in statements if twin in source.names_in(node.value)]
            again = [
                node for node in statements if twin in source.targets_of(node) and twin in source.names_in(node.value)
            ]
            if not again and not any(names & by for names in touching):
                return True
    return False


def _standardised(statement: ast.stmt) -> list[tuple[str, set[str]]]:
    """Return the name that a statement standardises, `x = (x - mean) / std`, and those of the mean and deviation."""
    value = statement.value if isinstance(statement, ast.Assign) else None
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Div) or not isinstance(value.left, ast.BinOp):
        return []
    name = ast.unparse(value.left.left)
    if not isinstance(value.left.op, ast.Sub) or name not in source.targets_of(statement):
        return []
    return [(name, source.names_in(value.left.right) | source.names_in(value.right))]


def _verdict(statement: ast.stmt) -> str:
    """Say what the data is for that a statement names."""
    return verdict(" ".join(source.targets_of(statement)))


def _twins(training: str, other: str) -> bool:
    """Whether two names are the same but for what the data is for: x_train and x_valid."""
    return verdict(other) == "held out" and words(training) - TRAINING == words(other) - HELD_OUT


def _second_division(site: Site | None) -> Site | None:
    """Return the last line before the model's call, in its file, that divides by 255, if there are two."""
    module = sites.tree(site.file) if site else None
    if module is None or site is None:
        return site
    lines = _divisions(module)
    return Site(site.file, lines[-1]) if len(lines) >= 2 else site


def _division(first: Site | None) -> Site | None:
    """Return the last line that divides by 255 before the one that calls a first layer, in its function or a forward."""
    if first is None:
        return None
    around = sites.function(first)
    lines = [line for line in _divisions(around) if line <= first.line] if around is not None else []
    if not lines or isinstance(around, ast.Module):
        inside = [line for one in source.functions(first.file) if one.name == "forward" for line in _divisions(one)]
        lines = inside or lines
    return Site(first.file, lines[-1]) if lines else first


def _divisions(around: ast.AST) -> list[int]:
    return sorted(
        node.lineno
        for node in ast.walk(around)
        if (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div | ast.Mult) and _by_255(node))
        or (isinstance(node, ast.Call) and "div" in ast.unparse(node.func) and any(map(_by_255, node.args)))
    )


def _by_255(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Constant) and part.value in (255, 1 / 255) for part in ast.walk(node))
