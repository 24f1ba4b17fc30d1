"""What operators need to know of a training script: its names, its parts, and how to change its text in places.

The source stays text: an `Edit` replaces a stretch of it, and everything else keeps every character. A `MARK` inside an
edit says that the line it comes to stand on is one where the mistake may be reported.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

MARK = "\0"

OPTIMIZERS = {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"}
SCHEDULERS = {
    "StepLR",
    "MultiStepLR",
    "ExponentialLR",
    "CosineAnnealingLR",
    "LambdaLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
}
LAYERS_WITH_PARAMETERS = {
    "Linear",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Embedding",
    "LSTM",
    "GRU",
    "LayerNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "Sequential",
    "ModuleList",
    "MultiheadAttention",
    "TransformerEncoder",
}
LOSSES = {
    "CrossEntropyLoss": "ce",
    "cross_entropy": "ce",
    "BCEWithLogitsLoss": "bce_logits",
    "binary_cross_entropy_with_logits": "bce_logits",
    "BCELoss": "bce",
    "binary_cross_entropy": "bce",
    "MSELoss": "mse",
    "mse_loss": "mse",
    "SmoothL1Loss": "mse",
    "smooth_l1_loss": "mse",
    "L1Loss": "mse",
    "TripletMarginLoss": "triplet",
    "kl_div": "kl",
}


@dataclass(frozen=True)
class Edit:
    """Replaces the characters from `start` up to `end`, which may be none."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Loss:
    """A place where a loss is computed; `output` and `target` are its first two operands."""

    node: ast.expr
    kind: str
    output: ast.expr
    target: ast.expr


class Script:
    """One parsed training script; ASCII, so that a column is a character."""

    def __init__(self, source: str, tree: ast.Module) -> None:
        self.source = source
        self.tree = tree
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.nodes = sorted(
            (node for node in ast.walk(tree) if hasattr(node, "lineno")), key=lambda n: (n.lineno, n.col_offset)
        )

    # --- places in the text ---

    def start(self, node: ast.AST) -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.AST) -> int:
        return self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        return self.source[self.start(node) : self.end(node)]

    def indent(self, statement: ast.stmt) -> str:
        return " " * statement.col_offset

    def first_line(self, statement: ast.stmt) -> int:
        """Where the first line of a statement begins, with its decorators."""
        decorators = getattr(statement, "decorator_list", [])
        return self._line_starts[min([statement, *decorators], key=lambda n: n.lineno).lineno - 1]

    def after_last_line(self, statement: ast.stmt) -> int:
        return self._line_starts[statement.end_lineno]

    # --- edits ---

    def mark(self, node: ast.AST) -> Edit:
        return Edit(self.start(node), self.start(node), MARK)

    def replace(self, node: ast.AST, text: str) -> Edit:
        return Edit(self.start(node), self.end(node), text)

    def before(self, statement: ast.stmt, *lines: str) -> Edit:
        at = self.first_line(statement)
        return Edit(at, at, "".join(f"{self.indent(statement)}{line}\n" for line in lines))

    def after(self, statement: ast.stmt, *lines: str) -> Edit:
        at = self.after_last_line(statement)
        return Edit(at, at, "".join(f"{self.indent(statement)}{line}\n" for line in lines))

    def without(self, statement: ast.stmt) -> Edit:
        """Removes the lines of a statement; leaves `pass` where a block would be empty."""
        body = self.block(statement)
        text = f"{self.indent(statement)}pass\n" if len(body) == 1 else ""
        return Edit(self.first_line(statement), self.after_last_line(statement), text)

    def without_with(self, block: ast.With) -> list[Edit]:
        """Removes the line of a `with` and moves its body to the left."""
        edits = [Edit(self.first_line(block), self.first_line(block.body[0]), "")]
        for line in range(block.body[0].lineno, block.end_lineno + 1):
            start = self._line_starts[line - 1]
            if self.source[start : start + 4] == "    ":
                edits.append(Edit(start, start + 4, ""))
        return edits

    def appended_argument(self, call: ast.Call, text: str) -> Edit:
        """Adds an argument before the closing bracket of a call."""
        arguments = [*call.args, *(k.value for k in call.keywords)]
        if not arguments:
            return Edit(self.end(call) - 1, self.end(call) - 1, text)
        at = max(self.end(a) for a in arguments)
        return Edit(at, at, ", " + text)

    def without_keyword(self, call: ast.Call, name: str) -> Edit:
        """Removes `name=…` from a call, with the comma that goes with it."""
        keyword = next(k for k in call.keywords if k.arg == name)
        arguments = sorted([*call.args, *call.keywords], key=self.start)
        i = arguments.index(keyword)
        if i:
            return Edit(self.end(arguments[i - 1]), self.end(keyword), "")
        after = self.start(arguments[1]) if len(arguments) > 1 else self.end(keyword)
        return Edit(self.start(keyword), after, "")

    def apply(self, edits: list[Edit]) -> tuple[str, list[int]]:
        """Returns the changed source, and the lines (from 1) that the marks came to stand on."""
        pieces, at = [], 0
        for edit in sorted(edits, key=lambda e: (e.start, e.end)):
            if edit.start < at:
                raise ValueError(f"edits overlap at {edit.start}: {edit.text!r}")
            pieces += [self.source[at : edit.start], edit.text]
            at = edit.end
        lines = "".join([*pieces, self.source[at:]]).split("\n")
        marked = [number for number, line in enumerate(lines, 1) if MARK in line]
        return "\n".join(lines).replace(MARK, ""), marked

    # --- names ---

    @cached_property
    def imports(self) -> dict[str, str]:
        """What each imported name stands for, as a dotted path."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return found

    def dotted(self, node: ast.AST) -> str:
        """`torch.nn.functional.relu` for `F.relu`; "" for what is no dotted name."""
        if isinstance(node, ast.Name):
            return self.imports.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""

    def last_name(self, node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return node.attr
        return node.id if isinstance(node, ast.Name) else ""

    @cached_property
    def torch(self) -> str:
        return next(name for name, meaning in self.imports.items() if meaning == "torch")

    @property
    def nn(self) -> str:
        return next((name for name, meaning in self.imports.items() if meaning == "torch.nn"), f"{self.torch}.nn")

    def imported(self, module: str) -> list[Edit]:
        """The edit that imports a module of the standard library, unless it is imported."""
        if module in self.imports:
            return []
        first = next(n for n in self.tree.body if isinstance(n, ast.Import | ast.ImportFrom))
        return [self.before(first, f"import {module}")]

    # --- the tree around a node ---

    def ancestors(self, node: ast.AST) -> list[ast.AST]:
        found = []
        while node in self.parents:
            node = self.parents[node]
            found.append(node)
        return found

    def statement(self, node: ast.AST) -> ast.stmt:
        return node if isinstance(node, ast.stmt) else next(a for a in self.ancestors(node) if isinstance(a, ast.stmt))

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that a statement stands in."""
        parent = self.parents[statement]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, [])
            if isinstance(block, list) and statement in block:
                return block
        raise ValueError("a statement in no block")

    def scope(self, node: ast.AST) -> ast.AST:
        return next(
            (a for a in self.ancestors(node) if isinstance(a, ast.FunctionDef | ast.Module)),
            self.tree,
        )

    def loops(self, node: ast.AST) -> list[ast.stmt]:
        """The loops around a node within its function, the innermost first."""
        found = []
        for ancestor in self.ancestors(node):
            if isinstance(ancestor, ast.FunctionDef):
                break
            if isinstance(ancestor, ast.For | ast.While):
                found.append(ancestor)
        return found

    def inside(self, node: ast.AST, kind: type) -> list:
        return [n for n in self.nodes if isinstance(n, kind) and node in self.ancestors(n)]

    # --- parts of a training script ---

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [n for n in self.nodes if isinstance(n, ast.Call)]

    def called(self, *names: str) -> list[ast.Call]:
        """Calls of functions or classes with one of these last names, such as `Linear`."""
        return [c for c in self.calls if self.dotted(c.func).rpartition(".")[2] in names]

    def methods(self, name: str) -> list[ast.Expr]:
        """Statements `something.name(…)`."""
        return [
            n
            for n in self.nodes
            if isinstance(n, ast.Expr)
            and isinstance(n.value, ast.Call)
            and isinstance(n.value.func, ast.Attribute)
            and n.value.func.attr == name
        ]

    def receiver(self, statement: ast.Expr) -> str:
        return self.text(statement.value.func.value)

    def assigned(self, names: set[str]) -> list[tuple[ast.Assign, ast.Call]]:
        return [
            (n, n.value)
            for n in self.nodes
            if isinstance(n, ast.Assign)
            and isinstance(n.value, ast.Call)
            and self.dotted(n.value.func).startswith("torch")
            and self.dotted(n.value.func).rpartition(".")[2] in names
        ]

    @cached_property
    def optimizers(self) -> list[tuple[ast.Assign, ast.Call]]:
        return self.assigned(OPTIMIZERS)

    @cached_property
    def schedulers(self) -> list[tuple[ast.Assign, ast.Call]]:
        return self.assigned(SCHEDULERS)

    @cached_property
    def backwards(self) -> list[ast.Expr]:
        return self.methods("backward")

    @cached_property
    def zero_grads(self) -> list[ast.Expr]:
        return self.methods("zero_grad")

    @cached_property
    def optimizer_steps(self) -> list[ast.Expr]:
        names = {self.last_name(a.targets[0]) for a, _ in self.optimizers} | {"optimizer"}
        return [s for s in self.methods("step") if self.last_name(s.value.func.value) in names]

    @cached_property
    def scheduler_steps(self) -> list[ast.Expr]:
        names = {self.last_name(a.targets[0]) for a, _ in self.schedulers} | {"scheduler"}
        return [s for s in self.methods("step") if self.last_name(s.value.func.value) in names]

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        return {n.name: n for n in self.nodes if isinstance(n, ast.FunctionDef)}

    @cached_property
    def modules(self) -> dict[str, ast.ClassDef]:
        """The classes that derive from `nn.Module`."""
        return {
            n.name: n
            for n in self.nodes
            if isinstance(n, ast.ClassDef) and any(self.dotted(b) == "torch.nn.Module" for b in n.bases)
        }

    def method(self, owner: ast.ClassDef, name: str) -> ast.FunctionDef | None:
        return next((n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name == name), None)

    @cached_property
    def models(self) -> dict[str, ast.AST]:
        """Last names of variables that hold a model, each with its class or its `nn.Sequential(…)`."""
        found = {}
        for node in self.nodes:
            if not isinstance(node, ast.Assign) or self.in_module(node):
                continue
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            for name, made in pairs:
                if isinstance(made, ast.Call) and (kind := self.made_by(made)) is not None:
                    found[self.last_name(name)] = kind
        for statement in [*self.methods("eval"), *self.methods("train")]:
            name = self.last_name(statement.value.func.value)
            if name and name != "self" and name not in found and self.modules:
                found[name] = list(self.modules.values())[-1]
        return found

    def made_by(self, call: ast.Call) -> ast.AST | None:
        """The module class, or the `nn.Sequential(…)`, that a call makes."""
        name = self.dotted(call.func)
        if name in self.modules:
            return self.modules[name]
        if name == "torch.nn.Sequential":
            return call
        function = self.functions.get(name)
        if function and len(function.body) == 1 and isinstance(function.body[0], ast.Return):
            value = function.body[0].value
            if isinstance(value, ast.Call) and self.dotted(value.func) == "torch.nn.Sequential":
                return value
        return None

    def in_module(self, node: ast.AST) -> bool:
        return any(a in self.modules.values() for a in self.ancestors(node))

    @cached_property
    def model_calls(self) -> list[ast.Call]:
        return [
            c
            for c in self.calls
            if isinstance(c.func, ast.Name | ast.Attribute)
            and self.last_name(c.func) in self.models
            and not self.in_module(c)
        ]

    def without_gradients(self, node: ast.AST) -> bool:
        """Whether a node stands in a block or function under `no_grad` or `inference_mode`."""
        for ancestor in self.ancestors(node):
            if isinstance(ancestor, ast.With) and any(self.is_no_grad(i.context_expr) for i in ancestor.items):
                return True
            if isinstance(ancestor, ast.FunctionDef) and any(self.is_no_grad(d) for d in ancestor.decorator_list):
                return True
        return False

    def is_no_grad(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and self.dotted(node.func) in {"torch.no_grad", "torch.inference_mode"}

    @cached_property
    def evaluation_calls(self) -> list[ast.Call]:
        """Model calls that run without gradients, also in functions that are called so."""
        found, asked = [], set()
        open_calls = [c for c in self.calls if self.without_gradients(c)]
        while open_calls:
            call = open_calls.pop()
            if call in self.model_calls:
                found.append(call)
            name = self.last_name(call.func)
            if name in self.functions and name not in asked and not self.in_module(self.functions[name]):
                asked.add(name)
                open_calls += self.inside(self.functions[name], ast.Call)
        return [c for c in self.model_calls if c in found]

    @cached_property
    def training_calls(self) -> list[ast.Call]:
        return [c for c in self.model_calls if not self.without_gradients(c)]

    def trains(self, node: ast.AST) -> bool:
        """Whether a node holds, or calls a function that holds, a backward."""
        asked = set()
        nodes = [node]
        while nodes:
            here = nodes.pop()
            if any(here in self.ancestors(b) for b in self.backwards):
                return True
            for call in self.inside(here, ast.Call):
                name = self.last_name(call.func)
                if name in self.functions and name not in asked:
                    asked.add(name)
                    nodes.append(self.functions[name])
        return False

    @cached_property
    def epoch_loops(self) -> list[ast.stmt]:
        """Loops over epochs: the outermost of those that train, where another loop is inside or called."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.For | ast.While) and self.trains(node) and not self.loops(node):
                direct = [b for b in self.backwards if node in self.ancestors(b)]
                if not direct or all(len(self.loops(b)) > 1 for b in direct):
                    found.append(node)
        return found

    @cached_property
    def batch_loops(self) -> list[ast.stmt]:
        """The innermost loops with a backward in them."""
        return list(dict.fromkeys(self.loops(b)[0] for b in self.backwards if self.loops(b)))

    # --- loaders ---

    @cached_property
    def loaders(self) -> list[ast.Call]:
        return self.called("DataLoader")

    def keyword(self, call: ast.Call, name: str) -> ast.expr | None:
        return next((k.value for k in call.keywords if k.arg == name), None)

    def is_true(self, node: ast.AST | None) -> bool:
        return isinstance(node, ast.Constant) and node.value is True

    @cached_property
    def training_loaders(self) -> list[ast.Call]:
        return [c for c in self.loaders if self.is_true(self.keyword(c, "shuffle")) or self.keyword(c, "sampler")]

    @cached_property
    def evaluation_loaders(self) -> list[ast.Call]:
        return [c for c in self.loaders if c not in self.training_loaders]

    # --- losses ---

    @cached_property
    def criteria(self) -> dict[str, tuple[ast.Assign, str]]:
        """Last names of variables that hold a loss module, each with its construction and kind."""
        return {
            self.last_name(a.targets[0]): (a, LOSSES[self.dotted(c.func).rpartition(".")[2]])
            for a, c in self.assigned(set(LOSSES))
            if self.dotted(c.func).startswith("torch.nn.") and "functional" not in self.dotted(c.func)
        }

    @cached_property
    def losses(self) -> list[Loss]:
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Call) and len(node.args) >= 2:
                name = self.dotted(node.func)
                kind = None
                if name.startswith("torch.nn.functional."):
                    kind = LOSSES.get(name.rpartition(".")[2])
                elif self.last_name(node.func) in self.criteria:
                    kind = self.criteria[self.last_name(node.func)][1]
                if kind:
                    found.append(Loss(node, kind, node.args[0], node.args[1]))
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.left, ast.BinOp):
                difference = node.left
                if isinstance(difference.op, ast.Sub) and self.value_of(difference.left) is not difference.left:
                    found.append(Loss(node, "mse", difference.left, difference.right))
        return found

    def training_losses(self, *kinds: str) -> list[Loss]:
        return [x for x in self.losses if x.kind in kinds and not self.without_gradients(x.node)]

    def value_of(self, node: ast.expr) -> ast.expr:
        """Follows a name to the last value assigned to it above, in the same function; strips tensor methods."""
        while True:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node not in self.model_calls:
                node = node.func.value
                continue
            if isinstance(node, ast.Name):
                assignments = [
                    n
                    for n in self.nodes
                    if isinstance(n, ast.Assign)
                    and self.start(n) < self.start(node)
                    and self.scope(n) is self.scope(node)
                    and self.target_index(n, node.id) is not None
                ]
                if assignments:
                    return assignments[-1].value
            return node

    def target_index(self, assignment: ast.Assign, name: str) -> int | None:
        """At which place of an assignment's targets a name stands; 0 for a plain one."""
        target = assignment.targets[0]
        names = [self.last_name(e) for e in target.elts] if isinstance(target, ast.Tuple) else [self.last_name(target)]
        return names.index(name) if name in names else None

    def maker_of(self, output: ast.expr) -> tuple[str, ast.AST] | None:
        """Where a model's output is made: ("return", expression) in its forward, or ("sequential", call)."""
        base = output
        while isinstance(base, ast.Call) and isinstance(base.func, ast.Attribute) and base not in self.model_calls:
            base = base.func.value
        index = 0
        if isinstance(base, ast.Name):
            value = self.value_of(base)
            while (
                isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value not in self.model_calls
            ):
                value = value.func.value
            for node in self.nodes:
                if isinstance(node, ast.Assign) and value in [node.value, *ast.walk(node.value)]:
                    index = self.target_index(node, base.id) or 0
            base = value
        if base not in self.model_calls:
            return None
        kind = self.models[self.last_name(base.func)]
        if isinstance(kind, ast.Call):
            return "sequential", kind
        forward = self.method(kind, "forward")
        returned = [n.value for n in self.inside(forward, ast.Return)] if forward else []
        if not returned:
            return None
        expression = returned[-1]
        if isinstance(expression, ast.Tuple):
            expression = expression.elts[index]
        return "return", expression

    # --- layers ---

    def children(self, kind: ast.AST) -> list[str]:
        """How the parts with parameters of a model are reached: `.fc1`, `[0]`."""
        if isinstance(kind, ast.Call):
            return [f"[{i}]" for i, a in enumerate(kind.args) if self.has_parameters(a)]
        init = self.method(kind, "__init__")
        assignments = self.inside(init, ast.Assign) if init else []
        return [
            f".{a.targets[0].attr}"
            for a in assignments
            if isinstance(a.targets[0], ast.Attribute) and self.has_parameters(a.value)
        ]

    def has_parameters(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = self.dotted(node.func)
        return (name.startswith("torch.nn.") and name.rpartition(".")[2] in LAYERS_WITH_PARAMETERS) or (
            self.made_by(node) is not None
        )
