"""Questions that several rules ask of a record."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from truestep.doctor import sites
from truestep.doctor.record import LoaderFacts, LossFacts, LossOp, Node, PassFacts, Record, Site

VIEWS = {
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "TransposeBackward0",
    "PermuteBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "UnsqueezeBackward0",
    "CloneBackward0",
    "SliceBackward0",
    "ToCopyBackward0",
    "AliasBackward0",
    "TBackward0",
    "ExpandBackward0",
}


def ops(record: Record, *kinds: str) -> Iterator[tuple[LossFacts, LossOp, int, int]]:
    """Yield the loss functions of some kinds, each with how often it was in the graph and how often was looked.

    Those of one loss, line and chain of operations count as one; the one that knows its line is given.
    """
    for loss in record.losses:
        groups: defaultdict[tuple[object, ...], list[LossOp]] = defaultdict(list)
        for op in loss.ops:
            if op.kind in kinds:
                groups[op.kind, op.depth, tuple(node.name for node in op.chain[:4])].append(op)
        for group in groups.values():
            known = next((op for op in group if op.site is not None), group[0])
            yield loss, known, min(len(group), max(loss.looked_at, 1)), max(loss.looked_at, 1)


def through_views(chain: Sequence[Node]) -> Node | None:
    """Return the first operation of a chain that is more than another shape of the same numbers."""
    return next((node for node in chain if node.name not in VIEWS), None)


# What names say that a piece of data is for. A name alone is never a finding: it decides what a fact means.

HELD_OUT = {
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "tst",
    "te",
    "va",
    "eval",
    "evaluation",
    "dev",
    "held",
    "heldout",
    "holdout",
}
TRAINING = {"train", "training", "trn", "tr", "fit"}
NO_DATA = {"mask", "masks", "idx", "index", "indices", "ids", "every", "interval", "overfit", "debug", "sanity", "fold"}


def words(text: str) -> set[str]:
    """Return the words of names: "valLoader2" has "val" and "loader"."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}


def identifiers(node: ast.AST) -> str:
    """Return the names in an expression, and the texts that it looks things up by."""
    return " ".join(
        part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else str(part.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str))
    )


def verdict(text: str) -> str:
    """Return "held out", "training" or, if names say neither or both, ""."""
    said = words(text)
    if said & NO_DATA:
        return ""
    held, training = bool(said & HELD_OUT), bool(said & TRAINING)
    return "held out" if held and not training else "training" if training and not held else ""


def outermost_calls(node: ast.AST) -> list[ast.Call]:
    """Return the calls of a statement that are in no other, in the order of the text."""
    if isinstance(node, ast.Call):
        return [node]
    return [call for child in ast.iter_child_nodes(node) for call in outermost_calls(child)]


def _name_around(statement: ast.stmt, call: ast.Call) -> str:
    """Return the name that a statement gives to what a call returns."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if value is call and key is not None:
                    return identifiers(key)
        if isinstance(node, ast.keyword) and node.value is call:
            return node.arg or ""
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if isinstance(target, ast.Tuple | ast.List) and isinstance(statement.value, ast.Tuple | ast.List):
                for one, value in zip(target.elts, statement.value.elts, strict=False):
                    if value is call:
                        return identifiers(one)
        return " ".join(identifiers(target) for target in targets)
    return ""


def purpose(record: Record, loader: LoaderFacts) -> tuple[str, Site | None]:
    """Say what a loader is for by the names around it, and the line that says so."""
    for depth, site in enumerate(loader.stack):
        statement = sites.statement(site)
        if statement is None:
            continue
        twins = [one for one in record.loaders if one.stack[depth : depth + 1] == [site]]
        calls = outermost_calls(statement)
        if not calls or isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        call = calls[twins.index(loader) % len(calls)]
        around = sites.function(site)
        named = around.name if isinstance(statement, ast.Return) and isinstance(around, ast.FunctionDef) else ""
        given = (
            identifiers(call.args[0]) if call.args else " ".join(identifiers(one.value) for one in call.keywords[:1])
        )
        for text in (_name_around(statement, call), named, given):
            if said := verdict(text):
                return said, site
    return use(loader.used)[0], loader.site


def use(stack: Sequence[Site]) -> tuple[str, Site | None]:
    """Say what data is for by the names in the lines that use it, innermost first, and the line that says so."""
    for site in stack:
        statement = sites.statement(site)
        if statement is None:
            continue
        around = [statement, *(loop for loop in loops(site)[:1] if isinstance(loop, ast.For))]
        for node in around:
            if isinstance(node, ast.For):
                text = identifiers(node.iter)
            else:
                text = " ".join(
                    identifiers(part) for call in outermost_calls(node) for part in (*call.args, *call.keywords)
                )
            if said := verdict(text):
                return said, site
    return "", None


def loops(site: Site | None) -> list[ast.For | ast.While]:
    """Return the loops around a line in its function, innermost first."""
    around = sites.function(site)
    if around is None or site is None:
        return []
    found = [
        node
        for node in ast.walk(around)
        if isinstance(node, ast.For | ast.While) and node.lineno < site.line <= (node.end_lineno or node.lineno)
    ]
    return sorted(found, key=lambda node: -node.lineno)


def last_trained(record: Record, models: set[int], step: int, without: int = -1) -> PassFacts | None:
    """Return the pass over a loader on which one of some models was trained last, before a step."""
    passes = [
        one
        for loader in record.loaders
        for one in loader.passes
        if one.loader != without and one.backwards and one.first_step < step and (one.model in models or not models)
    ]
    return max(passes, key=lambda one: one.first_step, default=None)


def models_of(record: Record, loader: LoaderFacts) -> set[int]:
    """Return the models that were given a loader's batches."""
    return {one.model for one in record.inputs if one.loader == loader.number}
