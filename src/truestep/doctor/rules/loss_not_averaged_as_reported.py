"""The reported average is divided by the wrong count.

A loss that is already the mean of its batch, summed over batches and divided by the number of examples, comes out too
small by the batch size; hits or sums over examples divided by the number of batches, too large by it. Training is not
touched, but the numbers compare with nothing.

Bad::

    for epoch in range(3):
        total = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(total / len(loader.dataset))  # <- here

Good::

    for epoch in range(3):
        total = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
        print(total / len(loader.dataset))

Not a mistake: a loss with `reduction="sum"` divided by the number of examples, the mean of the batches' means divided by
the number of batches.

Source: https://github.com/pytorch/tutorials/issues/1486
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS
from truestep.doctor.record import Record, Site

SEVERITY = "warning"


SUMMED = re.compile(r"reduction\s*=\s*.(sum|none)|size_average|reduce\s*=")
BATCHES = re.compile(r"loader|dataloader|batches|_dl\b|\bdl\b", re.IGNORECASE)
SIZES = re.compile(r"size\(0\)|shape\[0\]|len\(|batch_?size|\bbs\b|numel", re.IGNORECASE)


def look(record: Record) -> Iterator[Finding]:
    sums = [op for loss in record.losses for op in loss.ops if op.kind in KINDS and op.site is not None]
    sizes = [size for model in record.models for call in model.calls if call.trained for size in call.batch_sizes]
    if not sums or not sizes or max(sizes) < 2 or any(op.reduction != "mean" for op in sums):
        return
    if any(loader.batch_size == 1 for loader in record.loaders):
        return  # batches and examples are the same
    calls = {name for op in sums if (name := _called(sites.statement(op.site)))}
    for file in {op.site.file for op in sums if op.site is not None}:
        module = sites.tree(file)
        if module is None or SUMMED.search("".join(linecache.getlines(file))):
            continue
        for around in ast.walk(module):
            if isinstance(around, ast.FunctionDef | ast.Module):
                yield from _in(around, file, calls, max(sizes))


def _in(around: ast.AST, file: str, calls: set[str], size: int) -> Iterator[Finding]:
    """Look at one function: what is summed in a loop, and what the sum is divided by."""
    nodes = list(_own(around))
    losses = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _called(node) in calls
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    named = {
        node.targets[0].id: ast.unparse(node.value)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
    }
    for node in nodes:
        if (
            not isinstance(node, ast.AugAssign)
            or not isinstance(node.op, ast.Add)
            or not isinstance(node.target, ast.Name)
        ):
            continue
        added, name = ast.unparse(node.value), node.target.id
        if (
            sum(
                isinstance(n, ast.AugAssign) and isinstance(n.op, ast.Add) and ast.unparse(n.target) == name
                for n in nodes
            )
            > 1
        ):
            continue
        plain = re.fullmatch(r"(float\()?(\w+)(\.detach\(\)|\.data|\.cpu\(\))*(\.item\(\))?\)?", added)
        direct = (
            node.value.func.value
            if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute)
            else None
        )
        is_mean = (plain is not None and plain[2] in losses) or (
            isinstance(direct, ast.Call) and ast.unparse(direct.func) in calls and added.endswith(".item()")
        )
        weighted = any(re.search(rf"\b{one}\b", added) for one in losses) and "*" in added and SIZES.search(added)
        hits = "==" in added and ".sum()" in added and "mean" not in added and "/" not in added
        for division, divisor in _divisions(nodes, name):
            by = named.get(ast.unparse(divisor), ast.unparse(divisor))
            of_batches = re.fullmatch(r"len\([\w.\[\]\"\']+\)", by) and BATCHES.search(by) and "dataset" not in by
            of_examples = re.fullmatch(r"len\([\w.\[\]\"\']+\.dataset\)|len\((\w+_)?(dataset|data|set|ds)(_\w+)?\)", by)
            if is_mean and of_examples:
                words, fix = (
                    f"means of batches, divided by the number of examples ({by})",
                    f"{name} += {added} * len(inputs)",
                )
            elif (weighted or hits) and of_batches:
                words, fix = f"sums over examples, divided by the number of batches ({by})", f"{by[:-1]}.dataset)"
            else:
                continue
            yield Finding(
                f"'{name}' adds up {words}: with batches of {size} it is off by a factor of about {size}.",
                Site(file, division),
                fix,
                {"summed": added, "divided by": by, "batch size": size},
                "warning",
                [Site(file, node.lineno)],
            )
            break


def _divisions(nodes: list[ast.AST], name: str) -> Iterator[tuple[int, ast.expr]]:
    for node in nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left = ast.unparse(node.left)
            if re.fullmatch(rf"\(?(100(\.0?)? \* )?{name}(\.item\(\))?( \* 100(\.0?)?)?\)?", left):
                yield node.lineno, node.right
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div) and ast.unparse(node.target) == name:
            yield node.lineno, node.value


def _own(around: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions inside."""
    for node in ast.iter_child_nodes(around):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            yield from _own(node)


def _called(line: ast.AST | None) -> str:
    """Return what an assignment calls: 'criterion' of `loss = criterion(outputs, targets)`."""
    value = line.value if isinstance(line, ast.Assign) else None
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""
