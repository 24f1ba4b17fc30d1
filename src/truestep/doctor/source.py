"""Follows a value through the user's source: which statements made what a line uses.

What it tells are candidates. A rule reports one only where the run confirms it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from truestep.doctor import sites
from truestep.doctor.record import Site

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
STATEMENTS = 400  # that are followed
CUTTING_METHODS = ("item", "detach", "numpy", "tolist", "argmax", "requires_grad_", "detach_")
CUTTING_CALLS = (
    "tensor",
    "as_tensor",
    "from_numpy",
    "Variable",
    "float",
    "array",
    "asarray",
    "argmax",
    "Tensor",
    "FloatTensor",
)


def name_of(node: ast.AST) -> str:
    """Return the last word of a name or attribute: `loss` of both `loss` and `self.loss`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def names_in(node: ast.AST) -> set[str]:
    """Return the variables that an expression uses, `self.x` as x, without what is called."""
    called = {id(one.func) for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    found = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and id(one) not in called}
    found |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and name_of(one.value) == "self"}
    return found - {"self", "torch", "F", "nn", "np", "criterion"}


def targets_of(statement: ast.AST) -> set[str]:
    """Return the names that a statement assigns."""
    if isinstance(statement, ast.Assign):
        targets: list[ast.AST] = list(statement.targets)
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
        targets = [statement.target]
    else:
        return set()
    return {name_of(one) for target in targets for one in ast.walk(target)} - {"", "self"}


def own_statements(function: Function) -> Iterator[ast.stmt]:
    """Yield the statements of a function, without those of functions and classes in it."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.stmt):
            yield node
        todo[:0] = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.excepthandler)]


def functions(file: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    module = sites.tree(file)
    return [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)] if module else []


def forwards(file: str, call: ast.Call) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the forward of the class of the file that what is called was made of: of `criterion` in `criterion = Own()`."""
    module, name = sites.tree(file), name_of(call.func)
    if module is None:
        return []
    kinds = {one.name: one for one in ast.walk(module) if isinstance(one, ast.ClassDef)}
    made = {
        name_of(node.value.func)
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and any(name_of(target) == name for target in node.targets)
    }
    if isinstance(call.func, ast.Call):  # Own()(predictions, targets)
        made = {name_of(call.func.func)}
    return [
        one
        for kind in made & set(kinds)
        for one in kinds[kind].body
        if isinstance(one, ast.FunctionDef) and one.name in ("forward", "__call__")
    ]


def made_by(site: Site | None, names: set[str] | None = None) -> Iterator[tuple[ast.stmt, Site]]:
    """Yield the statements that made what a line uses, the nearest first.

    Functions of the file are followed into their `return`, and arguments out to their callers.
    """
    function, at = sites.function(site), sites.statement(site)
    if site is None or function is None or at is None:
        return
    defined = functions(site.file)
    todo: list[tuple[Function, str]] = [(function, name) for name in sorted(names or names_in(at))]
    seen: set[tuple[int, str]] = set()
    entered: set[int] = set()
    given = 0

    def follow(where: Function, value: ast.AST) -> None:
        todo.extend((where, name) for name in sorted(names_in(value)))
        for call in (one for one in ast.walk(value) if isinstance(one, ast.Call)):
            named = [one for one in defined if one.name == name_of(call.func)] or forwards(site.file, call)
            for callee in (one for one in named if id(one) not in entered):
                entered.add(id(callee))
                returns.extend((callee, one) for one in own_statements(callee) if isinstance(one, ast.Return))

    returns: list[tuple[Function, ast.stmt]] = []
    follow(function, at)
    while (todo or returns) and given < STATEMENTS:
        if returns:
            where, statement = returns.pop(0)
            given += 1
            yield statement, Site(site.file, statement.lineno)
            follow(where, statement)
            continue
        where, name = todo.pop(0)
        if (id(where), name) in seen:
            continue
        seen.add((id(where), name))
        for statement in sorted(own_statements(where), key=lambda one: -one.lineno):
            if name in targets_of(statement):
                given += 1
                yield statement, Site(site.file, statement.lineno)
                follow(where, statement.value or statement)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(where, ast.Module):
            continue
        arguments = [one.arg for one in (*where.args.posonlyargs, *where.args.args)]
        if name in arguments:
            place = arguments.index(name) - (arguments[0] == "self")
            for caller in (*defined, sites.tree(site.file)):
                for statement in own_statements(caller) if caller is not None else ():
                    for call in (one for one in expressions(statement) if isinstance(one, ast.Call)):
                        if name_of(call.func) == where.name and 0 <= place < len(call.args) and caller is not None:
                            follow(caller, call.args[place])


def expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a statement's own expressions, without the statements inside of it."""
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt | ast.excepthandler):
            yield from ast.walk(child)


def cuts_in(statement: ast.stmt) -> list[str]:
    """Return what in a statement takes a value out of its graph: "item", "detach", "requires_grad", ..."""
    found: list[str] = []
    for node in expressions(statement):
        if isinstance(node, ast.Attribute) and node.attr == "data":
            found.append("data")
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        if name in CUTTING_CALLS and any(keyword.arg == "requires_grad" for keyword in node.keywords):
            found.append("requires_grad")
        if (isinstance(node.func, ast.Attribute) and name in CUTTING_METHODS) or (
            name in CUTTING_CALLS and node.args and not isinstance(node.args[0], ast.Constant | ast.List)
        ):
            found.append(name)
    if isinstance(statement, ast.Assign):
        found.extend(
            "requires_grad" for t in statement.targets if isinstance(t, ast.Attribute) and t.attr == "requires_grad"
        )
    return found


def without_gradients_around(site: Site) -> Site | None:
    """Return the line of the `no_grad` block or decorator around a line."""
    module = sites.tree(site.file)
    for node in ast.walk(module) if module else ():
        if not hasattr(node, "body") or not isinstance(node, ast.With | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not node.lineno <= site.line <= (node.end_lineno or node.lineno):
            continue
        marks = [item.context_expr for item in node.items] if isinstance(node, ast.With) else node.decorator_list
        for mark in marks:
            if "no_grad" in ast.unparse(mark) or "inference_mode" in ast.unparse(mark):
                return Site(site.file, mark.lineno)
    return None


def assigned(kind: type, attribute: str) -> Site | None:
    """Return the line in a class of the user's, or in one that it inherits from, where `self.attribute` is first assigned."""
    for one in kind.__mro__:
        code = next((f.__code__ for f in vars(one).values() if hasattr(f, "__code__")), None)
        module = sites.tree(code.co_filename) if code is not None and sites.is_users(code.co_filename) else None
        for node in ast.walk(module) if module else ():
            if isinstance(node, ast.ClassDef) and node.name == one.__name__ and code is not None:
                for part in ast.walk(node):
                    if isinstance(part, ast.Assign | ast.AnnAssign):
                        for target in part.targets if isinstance(part, ast.Assign) else [part.target]:
                            if isinstance(target, ast.Attribute) and target.attr == attribute:
                                return Site(code.co_filename, part.lineno)
    return None


@lru_cache(maxsize=512)
def renamings(line: Site) -> tuple[tuple[str, str, Site], ...]:
    """Return the assignments of a name to a name in branches within loops, of the file: (new, old, line)."""
    module = sites.tree(line.file)
    found: list[tuple[str, str, Site]] = []
    loops = [node for node in ast.walk(module) if isinstance(node, ast.For | ast.While)] if module else []
    for branch in (node for loop in loops for node in ast.walk(loop) if isinstance(node, ast.If)):
        for node in (one for one in ast.walk(branch) if isinstance(one, ast.Assign)):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=False))
                for new, old in pairs:
                    names = name_of(new), name_of(old)
                    if all(names) and names[0] != names[1]:
                        found.append((*names, Site(line.file, node.lineno)))
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=512)
def words_in(line: Site) -> frozenset[str]:
    """Return the names and attributes in the expressions of the statement at a line."""
    statement = sites.statement(line)
    return frozenset(name_of(node) for node in expressions(statement)) - {""} if statement is not None else frozenset()
