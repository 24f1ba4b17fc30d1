"""A container holds one layer several times, so that they all have the same weights.

`[layer] * n` repeats the reference, not the layer. The network is as deep as it looks, but with the parameters of one
layer. Some architectures mean it; most code that reads so does not.

Bad::

    model = nn.Sequential(nn.Linear(8, 16), *[nn.Linear(16, 16)] * 3, nn.Linear(16, 3))  # <- here
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Good::

    model = nn.Sequential(nn.Linear(8, 16), *[nn.Linear(16, 16) for _ in range(3)], nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

Not a mistake: layers that are shared on purpose, as in ALBERT or in detection heads. That is why this is a note.

Source: https://github.com/yaoppeng/U-Net_v2/issues/10
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.record import Record, Site

SEVERITY = "note"


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        for container, kind, times, assigned in model.shared:
            line = repeated(assigned, model.calls[0].site if model.calls else None)
            if line is not None:
                yield Finding(
                    f"{container or model.kind} holds the same {kind} {times} times: one set of weights, not {times}.",
                    line,
                    "[layer() for _ in range(n)], or copy.deepcopy(layer) for each",
                    {"times": times},
                    SEVERITY,
                )


def repeated(assigned: Site | None, call: Site | None) -> Site | None:
    """Return the line that multiplies a list, at an assignment or else in the file."""
    site = assigned or call
    module = sites.tree(site.file) if site is not None else None
    lines = [getattr(node, "lineno", 0) for node in ast.walk(module or ast.Module([], [])) if repeats(node)]
    if site is None or not lines:
        return None
    if assigned is not None:
        return Site(site.file, min(lines, key=lambda line: abs(line - assigned.line)))
    return Site(site.file, lines[0])


def repeats(node: ast.AST) -> bool:
    """Whether an expression is `[layer] * n` or `[layer for _ in range(n)]`, of one layer that has a name or was just made."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        lists = [one for one in (node.left, node.right) if isinstance(one, ast.List | ast.Tuple)]
        return any(one.elts and not any(isinstance(part, ast.Constant) for part in one.elts) for one in lists)
    if isinstance(node, ast.ListComp | ast.GeneratorExp) and isinstance(node.elt, ast.Name | ast.Attribute):
        bound = {one.id for part in node.generators for one in ast.walk(part.target) if isinstance(one, ast.Name)}
        return not bound & {one.id for one in ast.walk(node.elt) if isinstance(one, ast.Name)}
    return False
