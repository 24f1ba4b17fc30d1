"""Follows names through the source: may what a call gives come into a loss that is learnt from?

An approximation that says yes too often rather than too seldom. It follows assignments in the order in which they are
written, once around the loop, and returned values to the lines that called.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from truestep.doctor import sites
from truestep.doctor.record import LossFacts, Site

KEEP = {
    "append",
    "extend",
    "add",
    "push",
    "put",
    "insert",
    "store",
    "remember",
    "update",
    "appendleft",
    "save",
    "record",
}


def learnt_from(stack: Sequence[Site], losses: Sequence[LossFacts]) -> bool:
    """Whether the value made at the innermost line of a stack may reach a `backward`.

    Args:
        stack: the user's lines, innermost first.
        losses: whose lines are where learning happens.
    """
    learning = {site for loss in losses for site in loss.stack}
    for site in stack:
        around, source = sites.function(site), sites.statement(site)
        if around is None or source is None:
            return True  # no source to read
        ends, returned = _follow(around, source, learning, site.file)
        if ends or not returned:
            return ends
    return False


def _follow(around: ast.AST, source: ast.stmt, learning: set[Site], file: str) -> tuple[bool, bool]:
    """Return whether the value of a statement comes to a backward in its function, and whether the function returns it."""
    if _learns(source, {site for site in learning if site.file == file}):
        return True, False
    if isinstance(source, ast.Return):
        return False, True
    lines = list(_lines(around))
    start = next((place for place, line in enumerate(lines) if line is source), 0)
    loop = _outermost_loop(around, source)
    order = [*lines[start + 1 :], *(line for line in lines[:start] if loop and loop.lineno <= line.lineno)]
    tainted = _kept(source) | _targets(source)
    returned = isinstance(source, ast.Expr) and isinstance(source.value, ast.Yield | ast.YieldFrom)
    for line in order:
        if not _uses(line, tainted):
            if isinstance(line, ast.Assign):
                tainted -= {name for name in _targets(line) if "." not in name and "[" not in name}
            continue
        if _backward_of(line, tainted) or _learns(line, {site for site in learning if site.file == file}):
            return True, False
        if isinstance(line, ast.Return) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Yield)):
            returned = True
        tainted |= _targets(line) | _kept(line)
    attributes = {name.split(".")[1] for name in tainted if name.count(".")}
    return bool(attributes and _read_where_learnt(sites.tree(file), attributes)), returned


def _lines(around: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a function in the order of the source, without those of functions inside."""
    for node in ast.iter_child_nodes(around):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _lines(node)


def _heads(line: ast.stmt) -> list[ast.AST]:
    """Return the expressions of a statement itself, without the statements inside."""
    return [
        node
        for node in ast.iter_child_nodes(line)
        if not isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case)
    ]


def _outermost_loop(around: ast.AST, source: ast.stmt) -> ast.stmt | None:
    for line in _lines(around):
        if isinstance(line, ast.For | ast.While) and line.lineno <= source.lineno <= (line.end_lineno or 0):
            return line
    return None


def _dotted(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript | ast.Starred):
        node = node.value
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _targets(line: ast.stmt) -> set[str]:
    if isinstance(line, ast.Assign):
        places: list[ast.AST] = list(line.targets)
    elif isinstance(line, ast.AugAssign | ast.AnnAssign | ast.For):
        places = [line.target]
    elif isinstance(line, ast.With):
        places = [item.optional_vars for item in line.items if item.optional_vars]
    else:
        places = []
    walrus = [node.target for head in _heads(line) for node in ast.walk(head) if isinstance(node, ast.NamedExpr)]
    flat = [part for place in places for part in (place.elts if isinstance(place, ast.Tuple | ast.List) else [place])]
    return {name for part in [*flat, *walrus] if (name := _dotted(part))}


def _kept(line: ast.stmt) -> set[str]:
    """Return the containers that a statement puts something into."""
    return {
        name
        for head in _heads(line)
        for node in ast.walk(head)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in KEEP
        if (name := _dotted(node.func.value))
    }


def _uses(line: ast.AST, names: set[str]) -> bool:
    heads = _heads(line) if isinstance(line, ast.stmt) else [line]
    for head in heads:
        for node in ast.walk(head):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
                return True
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _dotted(node) in names:
                return True
    return isinstance(line, ast.AugAssign) and _dotted(line.target) in names


def _backward_of(line: ast.stmt, names: set[str]) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("backward", "grad", "manual_backward")
        and _uses(node, names)
        for head in _heads(line)
        for node in ast.walk(head)
    )


def _learns(line: ast.stmt, learning: set[Site]) -> bool:
    """Whether a backward was seen inside of what a statement itself, not a statement in it, calls."""
    numbers = {number for head in _heads(line) if (number := getattr(head, "lineno", 0))}
    if not numbers:
        return False
    last = max(getattr(head, "end_lineno", 0) or 0 for head in _heads(line))
    return any(min(numbers) <= site.line <= last for site in learning)


def _read_where_learnt(module: ast.Module | None, attributes: set[str]) -> bool:
    for function in ast.walk(module) if module else ():
        if isinstance(function, ast.FunctionDef):
            inside = list(ast.walk(function))
            if any(isinstance(node, ast.Attribute) and node.attr == "backward" for node in inside) and any(
                isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in attributes
                for node in inside
            ):
                return True
    return False


def thrown_away(site: Site | None) -> bool:
    """Whether a line only calls, and does nothing with what the call gives."""
    line = sites.statement(site)
    if isinstance(line, ast.Expr):
        return (
            isinstance(line.value, ast.Call)
            and not _kept(line)
            and not any(isinstance(node, ast.Call) for argument in line.value.args for node in ast.walk(argument))
        )
    return isinstance(line, ast.Assign) and _targets(line) == {"_"}


def written_over(site: Site | None) -> bool:
    """Whether only assignments to names use what a line makes, and all of these names are given something else."""
    function, source = sites.function(site), sites.statement(site)
    if function is None or not isinstance(source, ast.Assign):
        return False
    lines = list(_lines(function))
    start = next((place for place, line in enumerate(lines) if line is source), 0)
    loop = _outermost_loop(function, source)
    names = _targets(source)
    for line in [*lines[start + 1 :], *(line for line in lines[:start] if loop and loop.lineno <= line.lineno)]:
        to_names = isinstance(line, ast.Assign) and all(isinstance(one, ast.Name) for one in line.targets)
        if _uses(line, names):
            if not to_names:
                return False
            names |= _targets(line)
        elif to_names and line.col_offset <= source.col_offset:  # in any case, not only in one branch
            names -= _targets(line)
        if not names:
            return True
    return False


def text_of(site: Site) -> str:
    """Return the source of the statement at a line."""
    line = sites.statement(site)
    return ast.unparse(line) if line is not None else sites.text(site)


def around(site: Site | None) -> str:
    """Return the source of the function around a line, or of a few lines around it in no function."""
    function = sites.function(site)
    if site is None or function is None:
        return ""
    if isinstance(function, ast.Module):
        first, last = site.line - 4, site.line + 3
    else:
        first, last = function.lineno, function.end_lineno or function.lineno
    return "\n".join(sites.text(Site(site.file, line)) for line in range(max(first, 1), last + 1))


def speaks_of(stack: Sequence[Site], words: re.Pattern[str]) -> bool:
    """Whether the code around the innermost two lines of a stack has one of some words."""
    return any(words.search(around(site)) for site in stack[:2])
