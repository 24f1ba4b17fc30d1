"""Inputs and targets are shuffled apart, so that each input has another one's target.

Two shuffles are two orders. Nothing is left to learn but how frequent each target is: the loss stops there, in training
too or, with a model that can learn by heart, in evaluation only.

Bad::

    features = features[torch.randperm(96)]
    labels = labels[torch.randperm(96)]  # <- here
    for start in range(0, 96, 16):
        optimizer.zero_grad()
        F.cross_entropy(model(features[start : start + 16]), labels[start : start + 16]).backward()
        optimizer.step()

Good::

    order = torch.randperm(96)
    features = features[order]
    labels = labels[order]
    for start in range(0, 96, 16):
        optimizer.zero_grad()
        F.cross_entropy(model(features[start : start + 16]), labels[start : start + 16]).backward()
        optimizer.step()

Not a mistake: one order for both; two shuffles that begin with the same seed; labels that are shuffled on purpose, to see
what chance can do.

Source: https://stackoverflow.com/questions/4601373/better-way-to-shuffle-two-numpy-arrays-in-unison
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from truestep.doctor import flow, sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS, words
from truestep.doctor.record import Record, Site

SEVERITY = "error"
TARGETS = {"y", "ys", "label", "labels", "target", "targets"}
INPUTS = {"x", "xs", "input", "inputs", "feature", "features", "image", "images", "data"}
ORDERS = ("torch.randperm", "np.random.permutation", "numpy.random.permutation")  # that no seed of their own repeats
TURNED = ("flip", "roll", "flipud", "sort")  # another order of the same rows
ON_PURPOSE = re.compile(
    r"random.?label|label.?noise|noisy|chance|control|null|permutation.?(test|import)|shuffled.?(y|label|target)|sanity|"
    r"memori[sz]|neg(ative|_|\b)|marginal|mismatch|mutual",
    re.IGNORECASE,
)


def look(record: Record) -> Iterator[Finding]:
    learning = [loss for loss in record.losses if loss.site and loss.times >= 3]
    for file in sorted({loss.site.file for loss in learning if loss.site}):
        module = sites.tree(file)
        if module is None:
            continue
        for around in (one for one in ast.walk(module) if isinstance(one, source.Function)):
            statements = list(source.own_statements(around))
            if isinstance(around, ast.FunctionDef) and "perm" in around.name:
                continue
            for one, other, line in (*_one_after_another(around), *_side_by_side(statements)):
                site = Site(file, line)
                if other != one and not ON_PURPOSE.search(flow.text_of(site) + sites.text(site)):
                    yield Finding(
                        f"{one} and {other} are each put into an order of their own: targets no longer belong to their inputs.",
                        site,
                        f"order = torch.randperm(len({one})); {one}, {other} = {one}[order], {other}[order]",
                        {"shuffled apart": f"{one}, {other}"},
                    )
            if any(op.kind in KINDS for loss in learning for op in loss.ops):
                for one, other, line in _in_datasets(statements):
                    site = Site(file, line)
                    if not ON_PURPOSE.search(flow.around(site) + flow.text_of(site)):
                        yield Finding(
                            f"The examples are made of {one} and of {other} in a random order: targets do not belong to their "
                            "inputs.",
                            site,
                            "leave the order to the loader, or use one for both",
                            {"shuffled apart": f"{one}, {other}"},
                        )


def _one_after_another(around: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield inputs and targets that two statements of one block shuffle, and the line of the second."""
    for block in _blocks(around):
        first = ""
        for statement in block:
            if "seed" in ast.unparse(statement) or "set_state" in ast.unparse(statement):
                first = ""  # the second order may be the first one again
            shuffled = _shuffled(statement)
            if first and shuffled and _belong(first, shuffled):
                yield first, shuffled, statement.lineno
            if shuffled and words(shuffled) & INPUTS:
                first = shuffled


def _blocks(around: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of statements in a function, without those of functions in it."""
    todo = [around]
    while todo:
        node = todo.pop()
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                yield block
                inner = [
                    one for one in block if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                ]
                todo.extend(inner)


def _side_by_side(statements: list[ast.stmt]) -> Iterator[tuple[str, str, int]]:
    """Yield inputs and targets that one statement takes in different orders: `x[order], y[order.flip(0)]`."""
    for statement in statements:
        pair = statement.value if isinstance(statement, ast.Assign) else None
        if not isinstance(pair, ast.Tuple) or len(pair.elts) != 2:
            continue
        one, other = pair.elts
        if not isinstance(one, ast.Subscript) or not isinstance(other, ast.Subscript):
            continue
        inputs, targets = ast.unparse(one.value), ast.unparse(other.value)
        mine, theirs = ast.unparse(one.slice), ast.unparse(other.slice)
        if words(inputs) & TARGETS or not _belong(inputs, targets) or mine == theirs:
            continue
        turned = re.fullmatch(rf"{re.escape(mine)}(\.({'|'.join(TURNED)})\(.*\)|\[::-1\])", theirs)
        drawn = {_drawn(statements, one.slice), _drawn(statements, other.slice)}
        if turned or _fresh(other.slice) or ("" not in drawn and len(drawn) == 2):
            yield inputs, targets, statement.lineno


def _belong(inputs: str, targets: str) -> bool:
    """Whether names say that one holds the targets of the other, not that both are inputs, as of two domains."""
    said = words(targets)
    return bool(said & TARGETS) and not said & INPUTS and not words(inputs) & {"source", "src"}


def _in_datasets(statements: list[ast.stmt]) -> Iterator[tuple[str, str, int]]:
    """Yield inputs and targets of which only the targets are put into a random order where a dataset is made of them."""
    for call in (node for statement in statements for node in source.expressions(statement)):
        if not isinstance(call, ast.Call) or not source.name_of(call.func).endswith("Dataset") or len(call.args) < 2:
            continue
        last = call.args[-1]
        if isinstance(last, ast.Subscript) and _fresh(last.slice) and words(ast.unparse(last.value)) & TARGETS:
            yield ast.unparse(call.args[0]), ast.unparse(last.value), call.lineno


def _fresh(order: ast.expr) -> bool:
    """Whether an index makes a random order of its own."""
    calls = [node for node in ast.walk(order) if isinstance(node, ast.Call)]
    return any(ast.unparse(node.func) in ORDERS and not node.keywords for node in calls)


def _drawn(statements: list[ast.stmt], order: ast.expr) -> str:
    """Return the name of a random order that is made once, if an index is one."""
    name = ast.unparse(order)
    made = [one for one in statements if isinstance(one, ast.Assign) and name in source.targets_of(one)]
    return name if len(made) == 1 and isinstance(made[0].value, ast.Call) and _fresh(made[0].value) else ""


def _shuffled(statement: ast.stmt) -> str:
    """Return the name of what a statement shuffles by an order that it makes itself."""
    if isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call):
        unseeded = len(call.args) == 1 and not call.keywords and isinstance(call.args[0], ast.Name)
        named = ast.unparse(call.func) in ("np.random.shuffle", "numpy.random.shuffle", "random.shuffle")
        return ast.unparse(call.args[0]) if unseeded and named else ""
    if isinstance(statement, ast.Assign) and isinstance(value := statement.value, ast.Subscript):
        own = ast.unparse(statement.targets[0]) == ast.unparse(value.value) and isinstance(value.value, ast.Name)
        order = value.slice
        made = isinstance(order, ast.Call) and ast.unparse(order.func) in ORDERS and not order.keywords
        return ast.unparse(value.value) if own and made else ""
    return _mixed_with_others(statement)


def _mixed_with_others(statement: ast.stmt) -> str:
    """Return the name of what a statement adds to itself in an order that it makes: `a * x + (1 - a) * x[randperm(n)]`."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.BinOp):
        return ""
    if not isinstance(statement.value.op, ast.Add):
        return ""
    for mine, others in (
        (statement.value.left, statement.value.right),
        (statement.value.right, statement.value.left),
    ):
        for node in ast.walk(others):
            if (
                isinstance(node, ast.Subscript)
                and isinstance(node.value, ast.Name)
                and isinstance(node.slice, ast.Call)
            ):
                made = ast.unparse(node.slice.func) in ORDERS and not node.slice.keywords
                if made and any(isinstance(one, ast.Name) and one.id == node.value.id for one in ast.walk(mine)):
                    return node.value.id
    return ""
