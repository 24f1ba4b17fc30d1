"""The reported average is divided by the wrong count.

A loss that is already the mean of its batch, summed over batches and divided by the number of examples, comes out too
small by the batch size; hits or sums over examples divided by the number of batches, too large by it. Training is not
touched, but the numbers compare with nothing.

The mean of the batches' means is off as well where the last batch is much smaller than the others and there are few: its
examples count for many times as much. And the number of batches times the batch size is more than there are examples.

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

Not a mistake: a loss with `reduction="sum"` divided by the number of examples, the mean of many batches' means divided by
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
from truestep.doctor.record import LoaderFacts, PassFacts, Record, Site

SEVERITY = "warning"

SUMMED = re.compile(r"reduction\s*=\s*.(sum|none)|size_average|reduce\s*=")
BATCHES = re.compile(r"loader|dataloader|batches|_dl\b|\bdl\b", re.IGNORECASE)
SIZES = re.compile(r"size\(0\)|shape\[0\]|len\(|batch_?size|\bbs\b|numel", re.IGNORECASE)


def look(record: Record) -> Iterator[Finding]:
    sums = [op for loss in record.losses for op in loss.ops if op.kind in KINDS and op.site is not None]
    sizes = [size for model in record.models for call in model.calls if call.trained for size in call.batch_sizes]
    if not sizes or max(sizes) < 2 or any(op.reduction != "mean" for op in sums):
        return
    if any(loader.batch_size == 1 for loader in record.loaders):
        return  # batches and examples are the same
    calls = {name for op in sums if (name := _called(sites.statement(op.site), learnt=True))}
    files = {op.site.file for op in sums if op.site is not None}
    if not sums:
        files = {loss.site.file for loss in record.losses if loss.site is not None and not loss.ops}
    for file in sorted(files):
        module = sites.tree(file)
        if module is None or SUMMED.search("".join(linecache.getlines(file))):
            continue
        for around in ast.walk(module):
            if isinstance(around, ast.FunctionDef | ast.Module):
                yield from _in(around, file, calls, max(sizes), record.loaders, module)


def _in(
    around: ast.AST, file: str, calls: set[str], size: int, loaders: list[LoaderFacts], module: ast.Module
) -> Iterator[Finding]:
    """Look at one function: what is summed in a loop, and what the sum is divided by."""
    nodes = list(_own(around))
    losses = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _called(node) in calls
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    losses |= _means(nodes)
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
            by = named.get(ast.unparse(divisor)) or _length(divisor, nodes, module) or ast.unparse(divisor)
            passes = _passes(nodes, node, file, loaders)
            of_batches = re.fullmatch(r"len\([\w.\[\]\"\']+\)", by) and BATCHES.search(by) and "dataset" not in by
            of_examples = not of_batches and re.fullmatch(
                r"len\([\w.\[\]\"\']+\.dataset\)|len\((\w+_)?(datasets?|data|set|ds)(_\w+)?\)", by
            )
            of_examples = of_examples or _strided(nodes, node) == ast.unparse(divisor)
            if is_mean and of_examples:
                words, fix = (
                    f"means of batches, divided by the number of examples ({by})",
                    f"{name} += {added} * len(inputs)",
                )
            elif (weighted or hits) and of_batches:
                words, fix = f"sums over examples, divided by the number of batches ({by})", f"{by[:-1]}.dataset)"
            elif hits and (wrong := _padded(divisor, passes)):
                yield Finding(
                    f"'{name}' counts examples, of which there were {wrong[0]}, and is divided by {wrong[1]}: the last batch "
                    "is smaller than the others.",
                    Site(file, division),
                    "divide by the number of examples, as of loader.dataset",
                    {"summed": added, "divided by": by, "examples": wrong[0]},
                    "warning",
                    [Site(file, node.lineno)],
                )
                break
            elif is_mean and of_batches and (wrong := _uneven(passes)):
                yield Finding(
                    f"'{name}' adds up means of batches, divided by the number of batches ({by}), and the last of "
                    f"{wrong.batches} had only {wrong.smallest} of {wrong.examples} examples: its examples count for "
                    f"{(wrong.examples - wrong.smallest) / (wrong.batches - 1) / wrong.smallest:.0f} times as much.",
                    Site(file, division),
                    f"{name} += {added} * len(inputs), and divide by the number of examples",
                    {"summed": added, "divided by": by, "examples": wrong.examples, "last batch": wrong.smallest},
                    "warning",
                    [Site(file, node.lineno)],
                )
                break
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


def _means(nodes: list[ast.AST]) -> set[str]:
    """Return the names that are given a mean, in words, and learnt from, and to which at most something is added."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            function, name = node.value.func, node.targets[0].id
            if not isinstance(function, ast.Attribute) or function.attr != "mean" or node.value.keywords:
                continue
            if len(node.value.args) == (ast.unparse(function.value) == "torch"):
                found.add(name)
    for node in nodes:
        if isinstance(node, ast.AugAssign) and not isinstance(node.op, ast.Add | ast.Sub):
            found.discard(ast.unparse(node.target))
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and not re.search(r"\bmean\(", ast.unparse(node.value)):
                    found.discard(target.id)
    return {
        one for one in found if any(isinstance(n, ast.Call) and ast.unparse(n.func) == f"{one}.backward" for n in nodes)
    }


def _length(divisor: ast.expr, nodes: list[ast.AST], module: ast.Module) -> str | None:
    """Return what a table of lengths holds, as 'len(datasets)' of `{p: len(d) for p, d in datasets.items()}[phase]`."""
    if not isinstance(divisor, ast.Subscript) or not isinstance(divisor.value, ast.Name):
        return None
    values = [
        node.value
        for node in (*nodes, *module.body)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == divisor.value.id
    ]
    values = list({ast.dump(value): value for value in values}.values())
    if len(values) != 1 or not isinstance(values[0], ast.DictComp):
        return None
    value, source = values[0].value, values[0].generators[0].iter
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "len" or len(value.args) != 1:
        return None
    if isinstance(value.args[0], ast.Subscript):
        return f"len({ast.unparse(value.args[0].value)})"
    if isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute) and source.func.attr == "items":
        return f"len({ast.unparse(source.func.value)})"
    return None


def _loop(nodes: list[ast.AST], inside: ast.AugAssign) -> ast.For | None:
    """Return the innermost loop around a statement."""
    around = [n for n in nodes if isinstance(n, ast.For) and n.lineno < inside.lineno <= (n.end_lineno or n.lineno)]
    return max(around, key=lambda loop: loop.lineno, default=None)


def _strided(nodes: list[ast.AST], inside: ast.AugAssign) -> str:
    """Return the end of a loop that goes over examples in strides: 'n' of `for i in range(0, n, size)`."""
    loop = _loop(nodes, inside)
    if loop is None or not isinstance(loop.iter, ast.Call) or ast.unparse(loop.iter.func) != "range":
        return ""
    arguments = [ast.unparse(one) for one in loop.iter.args]
    return arguments[1] if len(arguments) == 3 and arguments[0] == "0" and arguments[2] not in ("1", "-1") else ""


def _passes(nodes: list[ast.AST], inside: ast.AugAssign, file: str, loaders: list[LoaderFacts]) -> list[PassFacts]:
    """Return the whole passes of the loaders that the loop around a statement reads, in which nothing was learnt."""
    loop = _loop(nodes, inside)
    line = Site(file, loop.lineno) if loop is not None else None
    return [
        one
        for loader in loaders
        if line is not None and loader.used[:1] == [line] and not loader.drop_last and loader.batch_size
        for one in loader.passes
        if one.complete and not one.backwards and not one.steps
    ]


def _uneven(passes: list[PassFacts]) -> PassFacts | None:
    """Return a pass whose last batch counts for far more than its examples are."""
    for one in passes:
        if one.batches >= 2 and 0 < one.smallest < one.examples and 1 / one.batches - one.smallest / one.examples > 0.2:
            return one
    return None


def _padded(divisor: ast.expr, passes: list[PassFacts]) -> tuple[int, int] | None:
    """Return the number of examples and what stands for it, the number of batches times their size, if that is more."""
    if not isinstance(divisor, ast.BinOp) or not isinstance(divisor.op, ast.Mult):
        return None
    sides = [ast.unparse(divisor.left), ast.unparse(divisor.right)]
    if not any(re.fullmatch(r"len\([\w.]+\)", one) and BATCHES.search(one) for one in sides):
        return None
    if not any((re.search(r"batch|bs\b", one, re.IGNORECASE) and "len(" not in one) or one.isdigit() for one in sides):
        return None
    number = next((int(one) for one in sides if one.isdigit()), None)
    for one in passes:
        largest = -(-(one.examples - one.smallest) // max(one.batches - 1, 1))
        if one.batches >= 2 and one.batches * largest > one.examples and number in (None, largest):
            return one.examples, one.batches * largest
    return None


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


def _called(line: ast.AST | None, *, learnt: bool = False) -> str:
    """Return what an assignment calls: 'criterion' of `loss = criterion(outputs, targets)`.

    Args:
        line: a statement.
        learnt: whether `criterion(outputs, targets).backward()` counts as well.
    """
    value = line.value if isinstance(line, ast.Assign) or (learnt and isinstance(line, ast.Expr)) else None
    function = value.func if isinstance(value, ast.Call) and isinstance(line, ast.Expr) else None
    if function is not None:
        value = function.value if isinstance(function, ast.Attribute) and function.attr == "backward" else None
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""
