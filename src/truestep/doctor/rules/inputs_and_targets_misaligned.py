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
from collections.abc import Iterator
from itertools import pairwise

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.reading import words
from truestep.doctor.record import Record, Site

SEVERITY = "error"
TARGETS = {"y", "ys", "label", "labels", "target", "targets"}
INPUTS = {"x", "xs", "input", "inputs", "feature", "features", "image", "images", "data"}
ORDERS = ("torch.randperm", "np.random.permutation", "numpy.random.permutation")  # that no seed of their own repeats


def look(record: Record) -> Iterator[Finding]:
    for file in {loss.site.file for loss in record.losses if loss.site and loss.times >= 3}:
        module = sites.tree(file)
        for node in ast.walk(module) if module is not None else ():
            body = getattr(node, "body", None)
            if not isinstance(body, list) or (isinstance(node, ast.FunctionDef) and "perm" in node.name):
                continue
            for first, second in pairwise(body):
                one, other = _shuffled(first), _shuffled(second)
                if one and other and words(one) & INPUTS and words(other) & TARGETS and one != other:
                    yield Finding(
                        f"{one} and {other} are each put into a random order of their own: targets no longer belong to "
                        "their inputs.",
                        Site(file, second.lineno),
                        f"order = torch.randperm(len({one})); {one}, {other} = {one}[order], {other}[order]",
                        {"shuffled apart": f"{one}, {other}"},
                    )


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
