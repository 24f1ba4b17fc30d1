"""Losses or hidden states are kept with their whole graph, step after step.

A running sum of loss tensors, or a list of them, keeps every graph that made them: memory grows with each step until it
runs out. A hidden state that is handed on without `detach` makes each backward walk through all steps before.

Bad::

    total = 0.0
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss  # <- here

Good::

    total = 0.0
    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()

Not a mistake: a window of some steps that is learnt from together; the losses of several models of one step.

Source: https://github.com/horovod/horovod/issues/641
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.record import LossFacts, Record, Site

SEVERITY = "warning"
TAKEN_OUT = {"item", "detach", "data", "float", "tolist", "numpy", "cpu"}


def look(record: Record) -> Iterator[Finding]:
    for loss in record.losses:
        keeper = kept_by(loss)
        if loss.retained >= 4 and keeper is not None:
            yield Finding(
                f"The graphs of at least {loss.retained} earlier steps were still alive at a backward pass: this line keeps each "
                "loss together with the operations that made it.",
                keeper,
                "keep the number: loss.item(), or loss.detach() where waiting for the device would cost time",
                {"steps": record.steps, "earlier graphs alive, of those looked at": loss.retained},
                SEVERITY,
            )
            continue
        counts = [count for _, count in loss.nodes]
        grows = len(counts) >= 5 and all(b > a for a, b in itertools.pairwise(counts))
        if grows and counts[-1] >= 3 * counts[0] and loss.retain_graph:
            yield Finding(
                f"The graph of the loss grew from {counts[0]} operations to {counts[-1]} in {loss.nodes[-1][0]} steps: each "
                "backward walks through all steps before.",
                handed_on(loss) or loss.site,
                "detach the hidden state before the next step uses it: hidden = hidden.detach()",
                {"operations at first": counts[0], "at last": counts[-1]},
                SEVERITY,
            )


def kept_by(loss: LossFacts) -> Site | None:
    """Return the line beside a backward that adds its loss to a sum or a list."""
    at, function = sites.statement(loss.site), sites.function(loss.site)
    if at is None or function is None or loss.site is None:
        return None
    module = sites.tree(loss.site.file)
    places = [function, *source.functions(loss.site.file), *([module] if module is not None else [])]
    called_by = getattr(function, "name", "")
    for names in ingredients(loss.site, at):
        for where in places:
            for statement in source.own_statements(where):
                value = kept_value(statement)
                used = kept_names(value) if value is not None and statement is not at else set()
                calls = {source.name_of(node.func) for node in ast.walk(value or at) if isinstance(node, ast.Call)}
                back = called_by and called_by in (calls if used else set()) | returned_from(where, called_by, used)
                if (where is function and used & names) or back:
                    return Site(loss.site.file, statement.lineno)
    return None


def ingredients(site: Site, at: ast.stmt) -> Iterator[set[str]]:
    """Yield the names of a loss, then those that it is made of, then all that those are."""
    yield source.names_in(at)
    near = {
        name
        for line, _ in source.made_by(site)
        if source.targets_of(line) & source.names_in(at)
        for name in source.names_in(line)
    }
    yield near
    yield {name for line, _ in source.made_by(site) for name in source.targets_of(line)}


def kept_names(value: ast.AST) -> set[str]:
    """Return the names in what is kept, without those of which only the number is taken: `loss.item()`, `float(loss)`."""
    if isinstance(value, ast.Call) and {source.name_of(value.func)} & TAKEN_OUT:
        return set()
    if isinstance(value, ast.Attribute) and value.attr in TAKEN_OUT:
        return set()
    if isinstance(value, ast.Name):
        return {value.id}
    return {name for part in ast.iter_child_nodes(value) for name in kept_names(part)}


def returned_from(where: source.Function, callee: str, names: set[str]) -> set[str]:
    """Return the callee's name, if one of some names is what a call of it returned."""
    for statement in source.own_statements(where):
        value = getattr(statement, "value", None)
        if (
            isinstance(value, ast.Call)
            and source.name_of(value.func) == callee
            and source.targets_of(statement) & names
        ):
            return {callee}
    return set()


def kept_value(statement: ast.stmt) -> ast.expr | None:
    """Return what a statement adds to a sum, a list or a dict."""
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
        return statement.value
    if isinstance(statement, ast.Assign):
        added = isinstance(statement.value, ast.BinOp) and source.targets_of(statement) & source.names_in(
            statement.value
        )
        keyed = any(isinstance(target, ast.Subscript) for target in statement.targets)
        return statement.value if added or keyed else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and source.name_of(call.func) in ("append", "extend", "add", "update") and call.args:
        return call.args[-1] if source.name_of(call.func) != "update" else call.args[0]
    return None


def handed_on(loss: LossFacts) -> Site | None:
    """Return the line that makes a state out of itself: `out, hidden = model(inputs, hidden)`."""
    for statement, site in source.made_by(loss.site):
        value = getattr(statement, "value", None)
        if not isinstance(statement, ast.Assign) or not isinstance(value, ast.Call):
            continue
        if source.targets_of(statement) & {name for part in value.args for name in source.names_in(part)}:
            return site
    return None
