"""A part of the model computes in training, but is cut off from every loss, and never learns.

A `detach()`, a `.data` or a `no_grad` block between it and the loss ends the gradient there. The optimizer has its
parameters and passes over them, as they have no gradient; what follows learns from random features.

Bad::

    encoder = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    optimizer = torch.optim.SGD([*encoder.parameters(), *model.parameters()], lr=0.1)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            hidden = encoder(inputs).detach()  # <- here
            F.cross_entropy(model(hidden), targets).backward()
            optimizer.step()

Good::

    encoder = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    optimizer = torch.optim.SGD([*encoder.parameters(), *model.parameters()], lr=0.1)
    for epoch in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            hidden = encoder(inputs)
            F.cross_entropy(model(hidden), targets).backward()
            optimizer.step()

Not a mistake: a layer whose output nobody uses; a branch without gradients whose other use is learnt from; a loaded or
frozen backbone, one in evaluation mode, or a copy that follows by an average.

Source: https://github.com/wangle53/CSA-CDGAN/issues/5
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import loops, named_to_stay
from truestep.doctor.record import ParameterFacts, Record, Site

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    groups: defaultdict[Site, list[ParameterFacts]] = defaultdict(list)
    for p in record.parameters:
        if (
            p.reached
            or p.gradients
            or p.moved
            or p.loaded
            or p.foreign
            or p.frozen
            or p.orphan
            or named_to_stay(record, p)
        ):
            continue
        if p.called < 3 or p.steps_looked_at < 3 or p.model < 0 or p.evaluating > 0.5 * p.looks or not p.call_sites:
            continue
        if not any(o.after_backward >= 3 for o in record.optimizers if o.number in p.optimizers):
            continue
        site = cut(p, steps_of_its_own(record, p))
        if site is not None:
            groups[site].append(p)
    for site, parameters in groups.items():
        elements = sum(p.elements for p in parameters)
        number = next(iter(parameters[0].optimizers))
        yield Finding(
            f"{len(parameters)} parameters with {elements:,} numbers computed in training and never got a gradient, though "
            f"{record.optimizers[number].kind} has them: {', '.join(p.name for p in parameters[:3])}"
            f"{' ...' if len(parameters) > 3 else ''}.",
            site,
            "let the gradient through here; or freeze the part with requires_grad_(False), if it shall stay as it is",
            {"parameters": len(parameters), "numbers": elements, "steps": record.optimizers[number].steps},
            SEVERITY,
        )


def steps_of_its_own(record: Record, p: ParameterFacts) -> list[Site]:
    """Return where optimizers step that have it, if these never step with a gradient."""
    mine = [o for o in record.optimizers if o.number in p.optimizers]
    if any(o.steps > o.without_gradients for o in mine):
        return []
    return [site for o in mine for site in o.step_sites if site is not None]


def cut(p: ParameterFacts, steps: list[Site]) -> Site | None:
    """Return the line that cuts off the output of a parameter's module, near the call of it."""
    if p.called_without_gradients >= 0.8 * p.called:
        around = next((block for site in p.call_sites if (block := source.without_gradients_around(site))), None)
        return around or next((site for site in p.call_sites if checkpointed(site)), None)
    if p.called - p.called_without_gradients < 3:
        return None
    if own := cut_itself(p):
        return own
    for site in p.gradient_sites:  # from the innermost call outwards: what is made of its output?
        statement, function = sites.statement(site), sites.function(site)
        if statement is None or function is None:
            continue
        made = source.targets_of(statement)
        found: list[int] = []
        turns = [(loop.lineno, loop.end_lineno or loop.lineno) for loop in loops(site)]
        for other in [statement, *source.own_statements(function)]:
            cuts = set(source.cuts_in(other)) & {
                "detach",
                "detach_",
                "data",
                "item",
                "numpy",
                "tensor",
                "from_numpy",
                "tolist",
            }
            after = other.lineno > site.line or any(first < other.lineno <= last for first, last in turns)
            if cuts and (other is statement or (after and source.names_in(other) & made)):
                found.append(cutting_line(other))
            if after and source.names_in(other) & made:
                made |= source.targets_of(other)
        if found:  # of several cuts, the one on the way to its own step
            ends = [step.line for step in steps if sites.function(step) is function]
            before = [line for line in found if any(line <= end for end in ends)]
            return Site(site.file, max(before, default=found[0]))
    return None


def checkpointed(site: Site) -> bool:
    """Whether a line hands a part to a checkpoint, which lets no gradient in if no input of it asks for one."""
    statement = sites.statement(site)
    return statement is not None and any(
        isinstance(node, ast.Call) and "checkpoint" in source.name_of(node.func).lower()
        for node in source.expressions(statement)
    )


def cut_itself(p: ParameterFacts) -> Site | None:
    """Return the line that uses `self.weight.data` or `self.weight.detach()`, if forward uses it in no other way."""
    name = p.name.rpartition(".")[2]
    for file in dict.fromkeys(site.file for site in p.call_sites):
        module = sites.tree(file)
        kind = (
            next((n for n in ast.walk(module) if isinstance(n, ast.ClassDef) and n.name == p.part), None)
            if module
            else None
        )
        methods = {one.name: one for one in kind.body if isinstance(one, ast.FunctionDef)} if kind else {}
        if "forward" not in methods:
            continue
        inside = {source.name_of(one.func) for one in ast.walk(methods["forward"]) if isinstance(one, ast.Call)}
        run = [node for method in {"forward", *inside} & set(methods) for node in ast.walk(methods[method])]
        uses = sum(isinstance(node, ast.Attribute) and ast.unparse(node) == f"self.{name}" for node in run)
        changed = {id(node.value) for node in run if isinstance(node, ast.Attribute) and node.attr.endswith("_")}
        cuts = [
            node
            for node in run
            if isinstance(node, ast.Attribute)
            and node.attr in ("data", "detach")
            and isinstance(node.ctx, ast.Load)
            and ast.unparse(node.value) == f"self.{name}"
            and id(node) not in changed
        ]
        if cuts and len(cuts) == uses:
            return Site(file, cuts[0].end_lineno or cuts[0].lineno)
    return None


def cutting_line(statement: object) -> int:
    """Return the line in a statement of several lines, on which it is cut."""
    for node in ast.walk(statement) if isinstance(statement, ast.stmt) else ():
        if isinstance(node, ast.Attribute) and node.attr in ("detach", "detach_", "data", "item", "numpy", "tolist"):
            return node.end_lineno or node.lineno
    return getattr(statement, "lineno", 0)
