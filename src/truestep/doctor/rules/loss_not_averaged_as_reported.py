"""The reported average is divided by the wrong count.

A loss that is already the mean of its batch, summed over batches and divided by the number of examples, comes out too
small by the batch size; hits or sums over examples divided by the number of batches, too large by it. Training is not
touched, but the numbers compare with nothing.

The mean of the batches' means is off as well where the last batch is much smaller than the others and there are few: its
examples count for many times as much; in training, where the model changes from batch to batch anyway, that is a note. And
the number of batches times the batch size is more than there are examples.

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
import re
from collections.abc import Iterator
from dataclasses import dataclass

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import KINDS
from truestep.doctor.record import LoaderFacts, PassFacts, Record, Site

SEVERITY = "warning"

BATCHES = re.compile(r"loader|dataloader|batches|_dl\b|\bdl\b", re.IGNORECASE)
DATASETS = re.compile(r"[\w.\[\]\"\']+\.dataset|(\w+_)?(datasets?|data|set|ds)(_\w+)?")
SAME = ("item", "detach", "cpu", "float", "double", "data")  # a number stays itself
LOSSES = re.compile(r"cross_entropy|nll_loss|mse_loss|l1_loss|huber_loss|binary_cross_entropy(_with_logits)?|kl_div")
MISCOUNTED = (
    0.2  # of a mean, that the last batch counts for beyond its examples: a warning; in training, too small to be one
)
NOTED = 0.01


def look(record: Record) -> Iterator[Finding]:
    sizes = [one.batch_size for one in record.loaders if one.trained and one.batch_size] or [
        size for model in record.models for call in model.calls if call.trained for size in call.batch_sizes
    ]
    if not sizes or max(sizes) < 2 or any(loader.batch_size == 1 for loader in record.loaders):
        return  # batches and examples are the same
    if any(op.reduction in ("none", "sum") for loss in record.losses for op in loss.ops):
        return
    means = [op for loss in record.losses for op in loss.ops if op.kind in KINDS and op.reduction == "mean"]
    seen = {name for op in means if (name := _called(sites.statement(op.site)))}
    for file in sorted({loss.site.file for loss in record.losses if loss.site is not None}):
        module = sites.tree(file)
        for around in ast.walk(module) if module is not None else ():
            if isinstance(around, source.Function) and module is not None:
                yield from _in(Reader(around, module, file, seen), max(sizes), record.loaders)


@dataclass
class Reader:
    """Knows what the numbers in one function are: means of a batch, counts of examples, counts of batches."""

    around: source.Function
    module: ast.Module
    file: str
    seen: set[str]  # what the run called for a loss that is a mean: "criterion"

    def __post_init__(self) -> None:
        self.statements = list(source.own_statements(self.around))
        self.nodes = [node for statement in self.statements for node in (statement, *source.expressions(statement))]

    def values(self, name: str) -> list[tuple[ast.expr, int | None]]:
        """Return what a name is given here, and its place if that is a tuple."""
        found: list[tuple[ast.expr, int | None]] = []
        for statement in self.statements:
            if not isinstance(statement, ast.Assign):
                continue
            for target in statement.targets:
                if ast.unparse(target) == name:
                    found.append((statement.value, None))
                elif isinstance(target, ast.Tuple) and name in (names := [ast.unparse(one) for one in target.elts]):
                    place = names.index(name)
                    parts = statement.value.elts if isinstance(statement.value, ast.Tuple) else []
                    found.append((parts[place], None) if len(parts) == len(names) else (statement.value, place))
        return found

    def is_mean(self, value: ast.expr, place: int | None = None, depth: int = 0) -> bool:
        """Whether a number is the mean of a loss over its batch, or a sum of such."""
        if depth > 6:
            return False
        if isinstance(value, ast.Tuple) and place is not None:
            return place < len(value.elts) and self.is_mean(value.elts[place], None, depth + 1)
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            return self.is_mean(value.left, None, depth + 1) and self.is_mean(value.right, None, depth + 1)
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
            return not any(self.is_size(side) for side in (value.left, value.right)) and any(
                self.is_mean(side, None, depth + 1) for side in (value.left, value.right)
            )
        if isinstance(value, ast.Call):
            return self._gives_mean(value, place, depth)
        if isinstance(value, ast.Attribute) and value.attr == "data":
            return self.is_mean(value.value, None, depth + 1)
        given = self.values(ast.unparse(value)) if isinstance(value, ast.Name) else []
        return bool(given) and all(self.is_mean(one, at, depth + 1) for one, at in given)

    def _gives_mean(self, call: ast.Call, place: int | None, depth: int) -> bool:
        name = source.name_of(call.func)
        if name == "mean":
            return len(call.args) == (ast.unparse(call.func) == "torch.mean") and not call.keywords
        if name == "float" and isinstance(call.func, ast.Name) and call.args:
            return self.is_mean(call.args[0], None, depth + 1)
        if name in SAME and isinstance(call.func, ast.Attribute):
            return self.is_mean(call.func.value, None, depth + 1)
        if LOSSES.fullmatch(name):
            return _averages(call)
        inner = [one for one in source.functions(self.file) if one.name == name] or source.forwards(self.file, call)
        for function in inner:
            reader = Reader(function, self.module, self.file, self.seen)
            given = [one.value for one in reader.statements if isinstance(one, ast.Return) and one.value is not None]
            if not given or not all(reader.is_mean(one, place, depth + 1) for one in given):
                return False
        return bool(inner) or (place is None and (ast.unparse(call.func) in self.seen or self._is_loss(call.func)))

    def _is_loss(self, function: ast.expr) -> bool:
        """Whether an object was made of one of PyTorch's losses that average, wherever in the file."""
        name = source.name_of(function)
        made = [
            node.value
            for node in ast.walk(self.module)
            if isinstance(node, ast.Assign) and any(source.name_of(target) == name for target in node.targets)
        ]
        return bool(made) and all(
            isinstance(one, ast.Call) and source.name_of(one.func).endswith("Loss") and _averages(one) for one in made
        )

    def is_size(self, value: ast.expr) -> bool:
        """Whether a number is how many examples, or tokens, a batch has."""
        text = ast.unparse(value)
        if isinstance(value, ast.Name):
            given = self.values(text)
            return bool(given) and all(self.is_size(one) for one, at in given if at is None) and given[0][1] is None
        return bool(
            re.fullmatch(
                r"[\w.\[\]]+\.(size\(0\)|shape\[0\]|numel\(\))|len\([\w\[\]]+\)|[\w.]+\.sum\(\)\.item\(\)", text
            )
        )

    def sums(self) -> Iterator[ast.AugAssign]:
        """Yield what is added up in a loop, under a name that nothing else is added to."""
        added = [one for one in self.statements if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add)]
        names = [ast.unparse(one.target) for one in added]
        for one in added:
            if names.count(ast.unparse(one.target)) == 1 and self.loops(one):
                yield one

    def loops(self, statement: ast.stmt) -> list[ast.For]:
        """Return the loops around a statement, innermost first."""
        found = [
            one
            for one in self.statements
            if isinstance(one, ast.For) and one.lineno < statement.lineno <= (one.end_lineno or 0)
        ]
        return found[::-1]

    def divisions(self, name: str) -> Iterator[tuple[int, ast.expr]]:
        """Yield the lines that divide a number, and by what; not those whose result is divided again."""
        again = {id(one.left) for one in self.nodes if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div)}
        for node in self.nodes:
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and id(node) not in again:
                left = ast.unparse(node.left).replace(".item()", "").replace("float", "")
                parts = [part.strip("() ") for part in left.split(" * ")]
                if name in parts and all(part in (name, "100", "100.0") for part in parts):
                    yield node.lineno, node.right
            elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div) and ast.unparse(node.target) == name:
                yield node.lineno, node.value

    def counts(self, divisor: ast.expr, added: ast.AugAssign) -> tuple[str, str]:
        """Say whether a divisor is a number of "examples" or "batches", and how it is written."""
        text = ast.unparse(divisor)
        if isinstance(divisor, ast.Call) and text.startswith(("max(", "float(")) and divisor.args:
            return self.counts(divisor.args[0], added)
        reads = [_iterated(loop.iter) for loop in self.loops(added)[:1]]
        if any(_cut_from(one, text) for one in reads):
            return "examples", text
        if isinstance(divisor, ast.Name | ast.Attribute):
            counted = [one for one in self.statements if isinstance(one, ast.AugAssign)]
            steps = [one for one in counted if ast.unparse(one.target) == text and isinstance(one.op, ast.Add)]
            if len(steps) == 1 and self.loops(steps[0])[:1] == self.loops(added)[:1]:
                size = self.is_size(steps[0].value)
                one = isinstance(steps[0].value, ast.Constant) and steps[0].value.value == 1
                return "examples" if size else "batches" if one else "", text
            given = self.values(text)
            if not steps and len(given) == 1 and isinstance(given[0][0], ast.Call) and given[0][1] is None:
                return self.counts(given[0][0], added)
        text = _length(divisor, self) or text
        if not re.fullmatch(r"len\([\w.\[\]\"\']+\)", text):
            return "", text
        of = text[4:-1]
        if [ast.unparse(one) for one in reads] == [of] and not BATCHES.search(of):
            return "" if DATASETS.fullmatch(of) else "batches", text  # of the former, one example may be read at a time
        loader = BATCHES.search(of.rpartition(".")[2]) is not None
        examples = DATASETS.fullmatch(of) and not loader  # `data_loader` has both words
        if examples or any(_cut_from(one, of) for one in reads) or self._is_loaded(of):
            return "examples", text
        return ("batches", text) if BATCHES.search(of) else ("", text)

    def _is_loaded(self, name: str) -> bool:
        """Whether a loader is made of something."""
        return any(
            isinstance(node, ast.Call) and source.name_of(node.func) == "DataLoader" and node.args
            and ast.unparse(node.args[0]) == name
            for node in ast.walk(self.module)
        )  # fmt: skip


def _in(reader: Reader, size: int, loaders: list[LoaderFacts]) -> Iterator[Finding]:
    """Look at one function: what is summed in a loop, and what the sum is divided by."""
    for added in reader.sums():
        name, text = ast.unparse(added.target), ast.unparse(added.value)
        product = added.value if isinstance(added.value, ast.BinOp) and isinstance(added.value.op, ast.Mult) else None
        sides = [product.left, product.right] if product else []
        weighted = any(reader.is_mean(side) for side in sides) and any(reader.is_size(side) for side in sides)
        hits = "==" in text and ".sum()" in text and "mean" not in text and "/" not in text
        mean = not weighted and reader.is_mean(added.value)
        for line, divisor in reader.divisions(name):
            of, by = reader.counts(divisor, added)
            passes = _passes(reader, added, loaders)
            finding = None
            if mean and of == "examples":
                finding = _off(name, text, by, size, f"means of batches, divided by the number of examples ({by})")
                finding.fix = f"{name} += {text} * len(inputs)"
            elif of == "batches" and (weighted or (hits and BATCHES.search(by))):
                finding = _off(name, text, by, size, f"sums over examples, divided by the number of batches ({by})")
                finding.fix = "divide by the number of examples, as of loader.dataset"
            elif hits and (wrong := _padded(divisor, passes)):
                finding = Finding(
                    f"'{name}' counts examples, of which there were {wrong[0]}, and is divided by {wrong[1]}: the last batch "
                    "is smaller than the others.",
                    None,
                    "divide by the number of examples, as of loader.dataset",
                    {"summed": text, "divided by": by, "examples": wrong[0]},
                    SEVERITY,
                )
            elif mean and of == "batches" and (one := _uneven(passes)):
                finding = _miscounted(name, text, by, one)
            if finding is not None:
                # A mean of means by a number of batches that has a name is mended where it is summed up.
                named = mean and of == "batches" and isinstance(divisor, ast.Name)
                place = added.lineno if named else line
                finding.site, finding.related = Site(reader.file, place), [Site(reader.file, added.lineno)]
                yield finding
                break


def _off(name: str, text: str, by: str, size: int, words: str) -> Finding:
    return Finding(
        f"'{name}' adds up {words}: with batches of {size} it is off by a factor of about {size}.",
        None,
        evidence={"summed": text, "divided by": by, "batch size": size},
        severity=SEVERITY,
    )


def _miscounted(name: str, text: str, by: str, one: PassFacts) -> Finding:
    times = (one.examples - one.smallest) / (one.batches - 1) / one.smallest
    return Finding(
        f"'{name}' adds up means of batches, divided by the number of batches ({by}), and the last of {one.batches} had only "
        f"{one.smallest} of {one.examples} examples: its examples count for {times:.2g} times as much.",
        None,
        f"{name} += {text} * len(inputs), and divide by the number of examples",
        {"summed": text, "divided by": by, "examples": one.examples, "last batch": one.smallest},
        SEVERITY if _beyond(one) > MISCOUNTED and not one.backwards else "note",
    )


def _passes(reader: Reader, added: ast.AugAssign, loaders: list[LoaderFacts]) -> list[PassFacts]:
    """Return the whole passes of the loaders that the loop around a statement reads."""
    line = Site(reader.file, reader.loops(added)[0].lineno)
    return [
        one
        for loader in loaders
        if loader.used[:1] == [line] and not loader.drop_last and loader.batch_size
        for one in loader.passes
        if one.complete
    ]


def _beyond(one: PassFacts) -> float:
    """Return what share of a mean of batches the smallest batch has beyond its share of the examples."""
    return 1 / one.batches - one.smallest / one.examples


def _uneven(passes: list[PassFacts]) -> PassFacts | None:
    """Return the pass whose last batch counts for most beyond its examples, if that is much."""
    uneven = [one for one in passes if one.batches >= 2 and 0 < one.smallest < one.examples and _beyond(one) > NOTED]
    return max(uneven, key=lambda one: (not one.backwards, _beyond(one)), default=None)


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


def _length(divisor: ast.expr, reader: Reader) -> str | None:
    """Return what a table of lengths holds, as 'len(datasets)' of `{p: len(d) for p, d in datasets.items()}[phase]`."""
    if not isinstance(divisor, ast.Subscript) or not isinstance(divisor.value, ast.Name):
        return None
    values = [
        node.value
        for node in (*reader.statements, *reader.module.body)
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


def _averages(call: ast.Call) -> bool:
    """Whether a loss, or its construction, is told nothing else than to take the mean."""
    told = [one for one in call.keywords if one.arg in ("reduction", "size_average", "reduce")]
    return all(isinstance(one.value, ast.Constant) and one.value.value in ("mean", "batchmean") for one in told)


def _iterated(value: ast.expr) -> ast.expr:
    """Return what a loop goes over, without the `enumerate` or the progress bar around it."""
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.args:
        if value.func.id == "range" or BATCHES.search(value.func.id):
            break
        value = value.args[0]
    return value


def _cut_from(value: ast.expr, name: str) -> bool:
    """Whether a loop goes over pieces of something: `rows[order].split(64)`, `range(0, len(rows), 64)`."""
    if not isinstance(value, ast.Call):
        return False
    if source.name_of(value.func) == "range":
        return len(value.args) == 3 and ast.unparse(value.args[1]) in (name, f"len({name})")
    if BATCHES.search(source.name_of(value.func)):  # a loader that is made in the loop's own line
        return bool(value.args) and ast.unparse(value.args[0]) == name
    cuts = source.name_of(value.func) in ("split", "chunk", "tensor_split", "array_split")
    return cuts and name in {ast.unparse(node) for node in ast.walk(value)}


def _called(line: ast.stmt | None) -> str:
    """Return what a line calls for its loss: 'criterion' of `loss = criterion(outputs, targets)`, and with `.backward()`."""
    value = line.value if isinstance(line, ast.Assign | ast.Expr) else None
    if isinstance(line, ast.Expr) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        value = value.func.value if value.func.attr == "backward" else None
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""
