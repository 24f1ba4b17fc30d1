"""Mutation operators: each plants one mistake into a correct training script, at every place where it can be made.

`operators` lists them. An operator's function is given a script's source and its tree and yields, for every place, the
changed source and the lines on which the mistake may be reported. `allowed_rules` are other rules that the same mistake
fairly shows as. Everything that is not the mistake keeps every character.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from script import MARK, Edit, Script


class Operator(NamedTuple):
    """One way to make one mistake."""

    name: str
    rule: str
    allowed_rules: tuple[str, ...]
    function: Callable[[str, ast.Module], Iterator[tuple[str, list[int]]]]


operators: list[Operator] = []

# Why a mutant is wrong although it may print the same numbers.
wrong_by_definition: dict[str, str] = {}

# What a mutant must print to be the mistake; else it is equivalent.
must_print: dict[str, str] = {}


def operator(
    name: str, rule: str, allowed: Sequence[str] = (), *, wrong_because: str = "", prints: str = ""
) -> Callable[[Callable[[Script], Iterator[list[Edit]]]], Callable[[Script], Iterator[list[Edit]]]]:
    """Lists a function that yields the edits of one mutant after the other."""

    def listed(edits_of: Callable[[Script], Iterator[list[Edit]]]) -> Callable[[Script], Iterator[list[Edit]]]:
        def mutants(source: str, tree: ast.Module) -> Iterator[tuple[str, list[int]]]:
            script = Script(source, tree)
            seen = set()
            for edits in edits_of(script):
                mutated, lines = script.apply(edits)
                if lines and mutated != source and mutated not in seen:
                    seen.add(mutated)
                    yield mutated, lines

        operators.append(Operator(name, rule, tuple(allowed), mutants))
        if wrong_because:
            wrong_by_definition[name] = wrong_because
        if prints:
            must_print[name] = prints
        return edits_of

    return listed


# --- the step ---------------------------------------------------------------------------------------------------------


def backwards_governed(s: Script, zero: ast.Expr) -> list[ast.Expr]:
    """The backwards whose gradients a `zero_grad` makes room for: those after it, up to the next step."""
    here = [b for b in s.backwards if s.scope(b) is s.scope(zero)]
    after = [b for b in here if s.start(b) > s.start(zero)]
    steps = [s.start(x) for x in s.optimizer_steps if s.start(x) > s.start(zero)]
    return [b for b in after if not steps or s.start(b) < steps[0]] or after[:1] or here[:1]


def step_after(s: Script, node: ast.AST) -> ast.Expr | None:
    found = [x for x in s.optimizer_steps if s.start(x) > s.start(node) and s.scope(x) is s.scope(node)]
    return found[0] if found else None


def backward_before(s: Script, node: ast.AST) -> ast.Expr | None:
    found = [b for b in s.backwards if s.start(b) < s.start(node) and s.scope(b) is s.scope(node)]
    return found[-1] if found else None


def in_batch_loop(s: Script, statement: ast.stmt) -> bool:
    """Whether a statement runs for every step: in a loop with a backward, or in a function that holds one step."""
    loops = s.loops(statement)
    return any(loop in s.batch_loops for loop in loops) or not loops


@operator("zero-grad-removed", "gradients-not-cleared", ["discriminator-gradients-leak", "gradients-exploding"])
def _(s: Script) -> Iterator[list[Edit]]:
    for zero in s.zero_grads:
        yield [s.without(zero), *map(s.mark, backwards_governed(s, zero))]


@operator("zero-grad-once-an-epoch", "gradients-not-cleared", ["discriminator-gradients-leak", "gradients-exploding"])
def _(s: Script) -> Iterator[list[Edit]]:
    for zero in s.zero_grads:
        loops = s.loops(zero)
        if loops and loops[0] in s.batch_loops and (len(loops) > 1 or s.scope(zero) is not s.tree):
            yield [
                s.before(loops[0], s.text(zero)),
                s.without(zero),
                *map(s.mark, backwards_governed(s, zero)),
            ]


@operator("zero-grad-of-another-optimizer", "gradients-not-cleared", ["discriminator-gradients-leak"])
def _(s: Script) -> Iterator[list[Edit]]:
    receivers = list(dict.fromkeys(s.receiver(z) for z in s.zero_grads if s.loops(z)))
    for zero in s.zero_grads:
        for other in receivers:
            if other != s.receiver(zero) and len(receivers) == 2 and s.loops(zero):
                yield [
                    s.replace(zero.value.func.value, other),
                    *map(s.mark, backwards_governed(s, zero)),
                ]


@operator(
    "zero-grad-before-step",
    "gradients-cleared-before-step",
    ["step-without-gradients", "gradients-clipped-of-nothing", "scheduler-before-optimizer"],
)
def _(s: Script) -> Iterator[list[Edit]]:
    for zero in s.zero_grads:
        governed = backwards_governed(s, zero)
        step = step_after(s, governed[-1]) if governed else None
        if step and in_batch_loop(s, zero) and s.block(step) is s.block(governed[-1]):
            yield [s.without(zero), s.before(step, MARK + s.text(zero))]
            if s.block(zero) is s.block(step):
                yield [s.without(zero), s.after(governed[-1], MARK + s.text(zero))]


@operator("zero-grad-every-micro-batch", "accumulation-zeroed")
def _(s: Script) -> Iterator[list[Edit]]:
    for zero in s.zero_grads:
        branch = s.parents[zero]
        backward = backward_before(s, zero)
        if isinstance(branch, ast.If) and backward and branch not in s.ancestors(backward):
            yield [s.without(zero), s.before(backward, MARK + s.text(zero))]
            yield [s.without(zero), s.after(branch, MARK + s.text(zero))]


@operator("last-window-not-stepped", "accumulation-window-dropped", ["gradients-not-cleared"])
def _(s: Script) -> Iterator[list[Edit]]:
    for step in [*s.optimizer_steps, *scaler_steps(s)]:
        branch = s.parents[step]
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.BoolOp) and isinstance(branch.test.op, ast.Or):
            yield [s.replace(branch.test, s.text(branch.test.values[0])), s.mark(step)]


@operator("loss-not-divided-for-accumulation", "loss-not-scaled-for-accumulation")
def _(s: Script) -> Iterator[list[Edit]]:
    for step in [*s.optimizer_steps, *scaler_steps(s)]:
        backward = backward_before(s, step)
        if isinstance(s.parents[step], ast.If) and backward:
            for division in s.inside(backward, ast.BinOp):
                if isinstance(division.op, ast.Div):
                    yield [s.replace(division, s.text(division.left)), s.mark(backward)]


@operator(
    "step-before-backward",
    "step-before-backward",
    ["step-without-gradients", "gradients-cleared-before-step", "gradients-clipped-of-nothing"],
)
def _(s: Script) -> Iterator[list[Edit]]:
    for step in s.optimizer_steps:
        backward = backward_before(s, step)
        if backward and s.block(step) is s.block(backward):
            yield [s.without(step), s.before(backward, MARK + s.text(step))]


@operator("step-removed", "step-never-called", ["scheduler-before-optimizer", "parameters-not-in-optimizer"])
def _(s: Script) -> Iterator[list[Edit]]:
    for step in s.optimizer_steps:
        backward = backward_before(s, step)
        if backward:
            yield [s.without(step), s.mark(backward)]


def clips(s: Script) -> list[ast.Expr]:
    calls = s.called("clip_grad_norm_", "clip_grad_value_")
    return [s.parents[c] for c in calls if isinstance(s.parents[c], ast.Expr)]


NO_EFFECT = "what is clipped there is never stepped with"


@operator("clip-after-step", "gradients-clipped-after-step", wrong_because=NO_EFFECT)
def _(s: Script) -> Iterator[list[Edit]]:
    for clip in clips(s):
        step = step_after(s, clip)
        if step:
            yield [s.without(clip), s.after(step, MARK + s.text(clip))]


@operator(
    "clip-before-backward",
    "gradients-clipped-before-backward",
    ["gradients-clipped-of-nothing"],
    wrong_because=NO_EFFECT,
)
def _(s: Script) -> Iterator[list[Edit]]:
    for clip in clips(s):
        backward = backward_before(s, clip)
        if backward and s.block(backward) is s.block(clip):
            yield [s.without(clip), s.before(backward, MARK + s.text(clip))]


@operator("clip-of-a-used-up-generator", "gradients-clipped-of-nothing", wrong_because=NO_EFFECT)
def _(s: Script) -> Iterator[list[Edit]]:
    for clip in clips(s):
        parameters = s.text(clip.value.args[0])
        for assignment, made in s.optimizers:
            if s.text(made.args[0]) == parameters and (
                s.scope(assignment) is s.scope(clip) or s.scope(assignment) is s.tree
            ):
                yield [
                    s.before(assignment, f"params = {parameters}"),
                    s.replace(made.args[0], "params"),
                    s.mark(clip),
                    s.replace(clip.value.args[0], "params"),
                ]


def scaler_steps(s: Script) -> list[ast.Expr]:
    return [x for x in s.methods("step") if "scaler" in s.receiver(x)]


@operator(
    "unscale-removed", "gradients-clipped-before-unscale", wrong_because="the norm of scaled gradients is clipped"
)
def _(s: Script) -> Iterator[list[Edit]]:
    for unscale in s.methods("unscale_"):
        for clip in clips(s):
            yield [s.without(unscale), s.mark(clip)]


@operator(
    "clip-before-unscale", "gradients-clipped-before-unscale", wrong_because="the norm of scaled gradients is clipped"
)
def _(s: Script) -> Iterator[list[Edit]]:
    for unscale in s.methods("unscale_"):
        for clip in clips(s):
            yield [s.without(unscale), s.mark(clip), s.after(clip, s.text(unscale))]


@operator(
    "optimizer-stepped-without-scaler",
    "scaled-gradients-stepped",
    ["gradients-clipped-before-unscale", "learning-rate-too-high"],
    wrong_because="the gradients are those of the scaled loss",
)
def _(s: Script) -> Iterator[list[Edit]]:
    for step in scaler_steps(s):
        others = [*s.methods("unscale_"), *s.methods("update")]
        scaled = [x for x in others if "scaler" in s.receiver(x)]
        optimizer = s.text(step.value.args[0])
        yield [s.replace(step, f"{MARK}{optimizer}.step()"), *map(s.without, scaled)]
        plain = [s.replace(step, f"{MARK}{optimizer}.step()"), *map(s.without, scaled)]
        yield [*plain, *(s.without(clip) for clip in clips(s))]


def losses_backed(s: Script) -> list[tuple[ast.Expr, str]]:
    """Backwards of a plain name, as in `loss.backward()`, each with the name."""
    return [(b, s.receiver(b)) for b in s.backwards if isinstance(b.value.func.value, ast.Name)]


CUT = [
    "step-without-gradients",
    "scheduler-before-optimizer",
    "gradients-clipped-of-nothing",
    "parameters-never-reached",
]


@operator("loss-rebuilt-from-item", "loss-detached", CUT)
def _(s: Script) -> Iterator[list[Edit]]:
    for backward, loss in losses_backed(s):
        yield [s.before(backward, f"{MARK}{loss} = {s.torch}.tensor({loss}.item(), requires_grad=True)")]


@operator("loss-rebuilt-from-tensor", "loss-detached", CUT)
def _(s: Script) -> Iterator[list[Edit]]:
    for backward, loss in losses_backed(s):
        yield [s.before(backward, f"{MARK}{loss} = {s.torch}.tensor({loss}, requires_grad=True)")]


@operator("loss-detached-then-required", "loss-detached", CUT)
def _(s: Script) -> Iterator[list[Edit]]:
    for backward, loss in losses_backed(s):
        yield [s.before(backward, f"{MARK}{loss} = {loss}.detach().requires_grad_(True)")]


@operator("loss-data", "loss-detached", CUT)
def _(s: Script) -> Iterator[list[Edit]]:
    for backward, loss in losses_backed(s):
        yield [
            s.before(backward, f"{MARK}{loss} = {s.torch}.autograd.Variable({loss}.data, requires_grad=True)"),
        ]


@operator("loss-through-numpy", "loss-detached", CUT)
def _(s: Script) -> Iterator[list[Edit]]:
    for backward, loss in losses_backed(s):
        yield [
            s.before(
                backward,
                f"{MARK}{loss} = {s.torch}.from_numpy({loss}.detach().numpy())",
                f"{MARK}{loss}.requires_grad_(True)",
            )
        ]


@operator("loss-required-under-no-grad", "loss-detached", [*CUT, "generator-gets-no-gradient"])
def _(s: Script) -> Iterator[list[Edit]]:
    for backward, loss in losses_backed(s):
        for call in s.training_calls:
            statement = s.statement(call)
            if isinstance(statement, ast.Assign) and s.block(statement) is s.block(backward):
                yield [
                    s.before(statement, f"{MARK}with {s.torch}.no_grad():"),
                    Edit(s.first_line(statement), s.first_line(statement), "    "),
                    s.before(backward, f"{MARK}{loss}.requires_grad_(True)"),
                ]


MEMORY = "the graphs of all steps stay in memory"


@operator("loss-summed-with-graph", "graph-kept-across-steps", wrong_because=MEMORY)
def _(s: Script) -> Iterator[list[Edit]]:
    for sum_ in s.nodes:
        if isinstance(sum_, ast.AugAssign) and not s.without_gradients(sum_) and s.loops(sum_):
            for item in s.inside(sum_, ast.Call):
                if s.text(item).endswith(".item()") and "loss" in s.text(item).lower():
                    yield [s.mark(sum_), s.replace(item, s.text(item.func.value))]


@operator("losses-listed-with-graph", "graph-kept-across-steps", wrong_because=MEMORY)
def _(s: Script) -> Iterator[list[Edit]]:
    for append in s.methods("append"):
        for item in s.inside(append, ast.Call):
            if s.text(item).endswith(".item()") and not s.without_gradients(item) and "loss" in s.text(item):
                yield [s.mark(append), s.replace(item, s.text(item.func.value))]


@operator("hidden-state-not-detached", "graph-kept-across-steps", wrong_because=MEMORY)
def _(s: Script) -> Iterator[list[Edit]]:
    for backward in s.backwards:
        for assignment in s.inside(s.loops(backward)[0], ast.Assign) if s.loops(backward) else []:
            if ".detach() for" in s.text(assignment):
                retained = s.appended_argument(backward.value, "retain_graph=True")
                yield [
                    s.replace(assignment.value, MARK + s.text(assignment.value).replace(".detach()", "")),
                    retained,
                ]


# --- what is trained --------------------------------------------------------------------------------------------------

STALE = ["parameters-not-in-optimizer", "step-without-gradients", "gradients-clipped-of-nothing"]


def optimized(s: Script) -> Iterator[tuple[ast.Assign, ast.Call, str]]:
    """Optimizers of all parameters of one plain name, as in `Adam(model.parameters())`, each with the name."""
    for assignment, made in s.optimizers:
        first = made.args[0]
        if (
            isinstance(first, ast.Call)
            and s.last_name(first.func) == "parameters"
            and isinstance(first.func.value, ast.Name)
        ):
            yield assignment, made, first.func.value.id


@operator("model-copied-after-optimizer", "optimizer-holds-stale-parameters", STALE)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, made, model in optimized(s):
        yield [*s.imported("copy"), s.mark(made), s.after(assignment, f"{model} = copy.deepcopy({model})")]


@operator("model-made-again-after-optimizer", "optimizer-holds-stale-parameters", STALE)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, made, model in optimized(s):
        for other in s.block(assignment):
            if (
                isinstance(other, ast.Assign)
                and s.text(other.targets[0]) == model
                and s.start(other) < s.start(assignment)
            ):
                yield [s.mark(made), s.after(assignment, *(line.strip() for line in s.text(other).splitlines()))]


@operator("layer-replaced-after-optimizer", "optimizer-holds-stale-parameters", STALE)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, made, model in optimized(s):
        for child in linear_children(s, s.models.get(model)):
            layer = f"{model}{child}"
            again = f"{layer} = {s.nn}.Linear({layer}.in_features, {layer}.out_features)"
            yield [s.mark(made), s.after(assignment, again)]


def linear_children(s: Script, kind: ast.AST | None) -> list[str]:
    if isinstance(kind, ast.Call):
        return [
            f"[{i}]"
            for i, a in enumerate(kind.args)
            if isinstance(a, ast.Call) and s.dotted(a.func) == "torch.nn.Linear"
        ]
    init = s.method(kind, "__init__") if kind else None
    return [
        f".{a.targets[0].attr}"
        for a in (s.inside(init, ast.Assign) if init else [])
        if isinstance(a.targets[0], ast.Attribute)
        and isinstance(a.value, ast.Call)
        and s.dotted(a.value.func) == "torch.nn.Linear"
    ]


@operator("optimizer-of-one-part", "parameters-not-in-optimizer")
def _(s: Script) -> Iterator[list[Edit]]:
    for _, made, model in optimized(s):
        if model in s.models:
            children = s.children(s.models[model])
            for child in dict.fromkeys([*children[:2], *children[-2:]]) if len(children) > 1 else []:
                yield [s.mark(made), s.replace(made.args[0], f"{model}{child}.parameters()")]


@operator("optimizer-without-one-part", "parameters-not-in-optimizer")
def _(s: Script) -> Iterator[list[Edit]]:
    for _, made, model in optimized(s):
        children = s.children(s.models[model]) if model in s.models else []
        if 2 < len(children) < 7:
            for left_out in (children[0], children[-1]):
                parts = ", ".join(f"*{model}{c}.parameters()" for c in children if c != left_out)
                yield [s.mark(made), s.replace(made.args[0], f"[{parts}]")]


@operator("module-list-as-list", "module-not-registered", ["parameters-not-in-optimizer", "evaluated-in-training-mode"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("ModuleList"):
        inner = call.args[0]
        text = s.text(inner)
        if isinstance(inner, ast.GeneratorExp):
            text = "[" + text.strip("()") + "]" if not text.startswith("(") else f"[{text[1:-1]}]"
        yield [s.mark(s.statement(call)), s.replace(call, text)]


@operator("frozen-before-evaluation", "frozen-by-accident", ["parameters-never-reached"])
def _(s: Script) -> Iterator[list[Edit]]:
    for statement in s.methods("eval"):
        model = s.receiver(statement)
        kind = s.models.get(s.last_name(statement.value.func.value))
        children = s.children(kind) if kind else []
        for child in children[:2] if len(children) > 2 else []:
            yield [
                s.after(
                    statement,
                    f"for parameter in {model}{child}.parameters():",
                    f"    {MARK}parameter.requires_grad = False",
                )
            ]


def forward_assignments(s: Script) -> list[ast.Assign]:
    """Assignments of a plain name in a module's methods whose value runs a layer with parameters."""
    found = []
    for kind in s.modules.values():
        layers = {c[1:] for c in s.children(kind)} | {"block", "conv", "down", "up", "decoder"}
        for function in kind.body:
            if isinstance(function, ast.FunctionDef) and function.name != "__init__":
                found += [
                    assignment
                    for assignment in s.inside(function, ast.Assign)
                    if isinstance(assignment.targets[0], ast.Name)
                    and any(s.last_name(c.func) in layers for c in s.inside(assignment, ast.Call))
                ]
    return found


UNREACHED = ["step-without-gradients", "gradients-clipped-of-nothing", "frozen-by-accident"]


@operator("features-detached", "parameters-never-reached", UNREACHED)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment in forward_assignments(s):
        value = s.text(assignment.value)
        value = value if isinstance(assignment.value, ast.Call) else f"({value})"
        yield [s.replace(assignment.value, f"{MARK}{value}.detach()")]


@operator("features-data", "parameters-never-reached", UNREACHED)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment in forward_assignments(s)[:3]:
        value = s.text(assignment.value)
        value = value if isinstance(assignment.value, ast.Call) else f"({value})"
        yield [s.replace(assignment.value, f"{MARK}{value}.data")]


@operator("features-under-no-grad", "parameters-never-reached", UNREACHED)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment in forward_assignments(s):
        at = s.first_line(assignment)
        yield [
            s.before(assignment, f"{MARK}with {s.torch}.no_grad():"),
            Edit(at, s.start(assignment), s.indent(assignment) + "    " + MARK),
        ]


@operator("trunk-output-detached", "parameters-never-reached", UNREACHED)
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.training_calls:
        for argument in call.args:
            if (
                isinstance(argument, ast.Name)
                and s.value_of(argument) in s.training_calls
                and "fake" not in argument.id
            ):
                yield [s.mark(call), s.replace(argument, f"{argument.id}.detach()")]


# --- modes ------------------------------------------------------------------------------------------------------------


def evaluation_calls_near(s: Script, statement: ast.stmt, model: str) -> list[ast.Call]:
    calls = [c for c in s.evaluation_calls if s.last_name(c.func) == model] or s.evaluation_calls
    near = [c for c in calls if s.scope(c) is s.scope(statement)]
    return near or calls


@operator("eval-removed", "evaluated-in-training-mode")
def _(s: Script) -> Iterator[list[Edit]]:
    teachers = {name for name, *_ in teacher_calls(s)}
    for statement in s.methods("eval"):
        name = s.last_name(statement.value.func.value)
        if name not in teachers and name in s.models:
            yield [s.without(statement), *map(s.mark, evaluation_calls_near(s, statement, name))]


@operator("eval-as-train", "evaluated-in-training-mode")
def _(s: Script) -> Iterator[list[Edit]]:
    teachers = {name for name, *_ in teacher_calls(s)}
    for statement in s.methods("eval"):
        name = s.last_name(statement.value.func.value)
        if name not in teachers and name in s.models:
            model = s.receiver(statement)
            yield [s.replace(statement, f"{model}.train()"), *map(s.mark, evaluation_calls_near(s, statement, name))]
    for statement in s.methods("train"):
        if statement.value.args and isinstance(statement.value.args[0], ast.Name):
            yield [s.replace(statement.value.args[0], ""), *map(s.mark, s.model_calls)]


def train_calls_near(s: Script, statement: ast.stmt) -> list[ast.Call]:
    name = s.last_name(statement.value.func.value)
    calls = [c for c in s.training_calls if s.last_name(c.func) == name] or s.training_calls
    here = [c for c in calls if s.scope(c) is s.scope(statement)]
    return here or calls


@operator("train-removed", "trained-in-eval-mode")
def _(s: Script) -> Iterator[list[Edit]]:
    for statement in s.methods("train"):
        if not statement.value.args and s.last_name(statement.value.func.value) in s.models:
            yield [s.without(statement), *map(s.mark, train_calls_near(s, statement))]


@operator("train-once-before-all-epochs", "trained-in-eval-mode")
def _(s: Script) -> Iterator[list[Edit]]:
    for statement in s.methods("train"):
        loops = s.loops(statement)
        if loops and not statement.value.args:
            yield [
                s.before(loops[-1], s.text(statement)),
                s.without(statement),
                *map(s.mark, train_calls_near(s, statement)),
            ]


@operator("train-always-off", "trained-in-eval-mode")
def _(s: Script) -> Iterator[list[Edit]]:
    for statement in s.methods("train"):
        if statement.value.args and isinstance(statement.value.args[0], ast.Name):
            yield [s.replace(statement.value.args[0], "False"), *map(s.mark, s.model_calls)]


def judged(s: Script, calls: list[ast.Call]) -> bool:
    """Whether the models called are put into a mode somewhere, so that they are trained or evaluated here."""
    modes = {s.last_name(x.value.func.value) for x in [*s.methods("eval"), *s.methods("train")]}
    return any(s.last_name(c.func) in modes for c in calls)


@operator(
    "no-grad-removed",
    "gradients-kept-in-evaluation",
    ["graph-kept-across-steps"],
    wrong_because="graphs are built and thrown away",
)
def _(s: Script) -> Iterator[list[Edit]]:
    teachers = [c for _, c, _ in teacher_calls(s)]
    for node in s.nodes:
        if isinstance(node, ast.With) and s.is_no_grad(node.items[0].context_expr):
            calls = [c for c in s.evaluation_calls if node in s.ancestors(c)] or s.evaluation_calls
            if calls and not set(calls) & set(teachers) and judged(s, calls):
                yield [*s.without_with(node), *map(s.mark, calls)]
        elif isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if s.is_no_grad(decorator):
                    calls = [c for c in s.evaluation_calls if node in s.ancestors(c)] or s.evaluation_calls
                    start = s.first_line(node)
                    yield [Edit(start, s.source.index("\n", start) + 1, ""), *map(s.mark, calls)]


@operator("functional-dropout-always-on", "randomness-left-on-in-evaluation")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("dropout"):
        if s.dotted(call.func).startswith("torch.nn.functional") and s.keyword(call, "training"):
            yield [s.mark(call), s.without_keyword(call, "training")]
            yield [s.mark(call), s.replace(s.keyword(call, "training"), "True")]


@operator("dropout-module-as-function", "randomness-left-on-in-evaluation")
def _(s: Script) -> Iterator[list[Edit]]:
    for kind in s.modules.values():
        for assignment in s.inside(kind, ast.Assign):
            value = assignment.value
            if not (isinstance(value, ast.Call) and s.dotted(value.func) == "torch.nn.Dropout"):
                continue
            name = s.last_name(assignment.targets[0])
            for call in s.inside(kind, ast.Call):
                if isinstance(call.func, ast.Attribute) and call.func.attr == name:
                    p = f"self.{name}.p"
                    yield [s.replace(call.func, f"{MARK}{s.nn}.functional.dropout"), s.appended_argument(call, p)]


@operator("trained-on-evaluation-loader", "trained-on-evaluation-data", ["train-and-evaluation-overlap"])
def _(s: Script) -> Iterator[list[Edit]]:
    names = loader_names(s)
    for loop in s.batch_loops:
        used = [n for n in s.inside(loop.iter, ast.Name) if n.id in names["train"]] if isinstance(loop, ast.For) else []
        if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Name) and loop.iter.id in names["train"]:
            used = [loop.iter]
        if len(used) == 1 and names["evaluation"] and s.scope(loop) is s.tree:
            other = names["evaluation"][0]
            text = s.source[s.first_line(loop) : s.after_last_line(loop)]
            at, length = s.start(used[0]) - s.first_line(loop), len(used[0].id)
            again = text[:at] + other + text[at + length :]
            lines = [MARK + line if ".backward(" in line else line for line in again.splitlines(keepends=True)]
            yield [Edit(s.after_last_line(loop), s.after_last_line(loop), "".join(lines))]


@operator("trained-on-both-loaders", "trained-on-evaluation-data", ["train-and-evaluation-overlap"])
def _(s: Script) -> Iterator[list[Edit]]:
    names = loader_names(s)
    for call in s.calls:
        statement = s.statement(call)
        function = s.functions.get(s.last_name(call.func))
        arguments = [a for a in call.args if isinstance(a, ast.Name) and a.id in names["train"]]
        if function and arguments and s.trains(function) and names["evaluation"] and s.loops(statement):
            other = s.text(call).replace(arguments[0].id, names["evaluation"][0])
            backwards = [b for b in s.backwards if function in s.ancestors(b)]
            yield [s.after(statement, other), *map(s.mark, backwards)]


def loader_names(s: Script) -> dict[str, list[str]]:
    found = {"train": [], "evaluation": []}
    for node in s.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.value in s.training_loaders:
                found["train"].append(node.targets[0].id)
            elif node.value in s.evaluation_loaders:
                found["evaluation"].append(node.targets[0].id)
    return found


# --- losses and outputs -----------------------------------------------------------------------------------------------


def wrapped_output(s: Script, kinds: Sequence[str], function: str, module: str) -> Iterator[list[Edit]]:
    """Puts a function around what the forward returns, or a module at the end of an `nn.Sequential`."""
    for loss in s.training_losses(*kinds):
        made = s.maker_of(loss.output)
        if made is None:
            continue
        where, node = made
        if where == "return":
            yield [s.replace(node, MARK + function.format(s.text(node), torch=s.torch))]
        else:
            model = next((c for c in s.model_calls if s.models[s.last_name(c.func)] is node), None)
            edits = [s.appended_argument(node, MARK + module.format(nn=s.nn))]
            yield [*edits, s.mark(model)] if model else edits


@operator("softmax-in-the-model", "softmax-before-cross-entropy")
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["ce"], "{torch}.softmax({0}, dim=-1)", "{nn}.Softmax(dim=1)")


@operator("softmax-at-the-loss", "softmax-before-cross-entropy")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("ce"):
        if s.maker_of(loss.output):
            yield [s.replace(loss.output, f"{MARK}{s.text(loss.output)}.softmax(dim=1)")]


@operator("softmax-before-the-loss", "softmax-before-cross-entropy")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("ce"):
        if s.maker_of(loss.output) and isinstance(loss.output, ast.Name):
            line = f"{MARK}{loss.output.id} = {s.torch}.softmax({loss.output.id}, dim=1)"
            yield [s.before(s.statement(loss.node), line)]


@operator("sigmoid-before-cross-entropy", "softmax-before-cross-entropy", ["activation-cuts-off-targets"])
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["ce"], "{torch}.sigmoid({0})", "{nn}.Sigmoid()")


@operator("sigmoid-in-the-model", "sigmoid-before-bce-logits")
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["bce_logits"], "{torch}.sigmoid({0})", "{nn}.Sigmoid()")


@operator("sigmoid-at-the-loss", "sigmoid-before-bce-logits")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("bce_logits"):
        yield [s.replace(loss.output, f"{MARK}{s.torch}.sigmoid({s.text(loss.output)})")]


@operator("nll-of-logits", "probabilities-expected")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("ce"):
        if isinstance(loss.node, ast.Call) and s.dotted(loss.node.func).startswith("torch.nn.functional"):
            nll = f"{MARK}{s.nn}.functional.nll_loss"
            yield [s.replace(loss.node.func, nll)]
            softmaxed = s.replace(loss.output, f"{s.text(loss.output)}.softmax(dim=1)")
            yield [s.replace(loss.node.func, nll), softmaxed]
    for assignment, kind in s.criteria.values():
        if kind == "ce":
            calls = [x for x in s.losses if x.kind == "ce"]
            marks = [s.mark(x.node) for x in calls]
            constructed = s.replace(assignment.value.func, f"{MARK}{s.nn}.NLLLoss")
            yield [constructed, *marks]
            yield [constructed, *marks, *(s.replace(x.output, f"{s.text(x.output)}.softmax(dim=1)") for x in calls)]


@operator("kl-of-probabilities", "probabilities-expected")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("kl"):
        if "log_softmax" in s.text(loss.output):
            text = s.text(loss.output)
            swapped = [s.mark(loss.node), s.replace(loss.output, s.text(loss.target)), s.replace(loss.target, text)]
            yield [s.mark(loss.node), s.replace(loss.output, text.replace("log_softmax", "softmax"))]
            yield swapped
            yield (
                [s.mark(loss.node), s.replace(loss.output, s.text(s.value_of(loss.output).args[0]))]
                if isinstance(s.value_of(loss.output), ast.Call) and s.value_of(loss.output).args
                else swapped
            )


@operator("relu-on-logits", "activation-cuts-off-targets", ["units-dead"])
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["ce", "bce_logits"], "{torch}.relu({0})", "{nn}.ReLU()")


@operator("relu-on-regression-output", "activation-cuts-off-targets", ["units-dead"])
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["mse"], "{torch}.relu({0})", "{nn}.ReLU()")


@operator("tanh-on-regression-output", "activation-cuts-off-targets")
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["mse"], "{torch}.tanh({0})", "{nn}.Tanh()")


@operator("sigmoid-on-regression-output", "activation-cuts-off-targets")
def _(s: Script) -> Iterator[list[Edit]]:
    yield from wrapped_output(s, ["mse"], "{torch}.sigmoid({0})", "{nn}.Sigmoid()")


def squeezes(s: Script) -> list[ast.Call]:
    return [
        c
        for c in s.calls
        if isinstance(c.func, ast.Attribute) and c.func.attr == "squeeze" and not s.without_gradients(c)
    ]


@operator("squeeze-removed", "loss-broadcast")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in squeezes(s):
        losses = s.training_losses("mse")
        here = [x for x in losses if s.scope(x.node) is s.scope(call)] or losses
        if losses:
            yield [s.replace(call, s.text(call.func.value)), *(s.mark(x.node) for x in here)]


@operator("target-with-one-column", "loss-broadcast")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("mse"):
        yield [s.mark(loss.node), s.replace(loss.target, f"{s.text(loss.target)}.unsqueeze(-1)")]


@operator("output-with-one-column", "loss-broadcast")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("mse"):
        yield [s.mark(loss.node), s.replace(loss.output, f"{s.text(loss.output)}[:, None]")]


@operator("loss-by-hand-broadcast", "loss-broadcast")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("mse"):
        if isinstance(loss.node, ast.Call) and not loss.node.keywords:
            output, target = s.text(loss.output), s.text(loss.target)
            yield [s.replace(loss.node, f"{MARK}(({output}.unsqueeze(1) - {target}) ** 2).mean()")]


@operator("classes-not-second", "loss-over-wrong-dimension", ["examples-mixed-in-batch"])
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("ce"):
        if isinstance(loss.output, ast.Call) and s.last_name(loss.output.func) == "transpose":
            yield [s.mark(loss.node), s.replace(loss.output, s.text(loss.output.func.value))]


@operator("attention-softmax-over-batch", "softmax-over-batch", ["examples-mixed-in-batch", "future-seen"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in [*s.called("softmax"), *s.called("log_softmax")]:
        dimension = s.keyword(call, "dim") or (call.args[1] if len(call.args) > 1 else None)
        if dimension is not None and not s.without_gradients(call):
            yield [s.mark(call), s.replace(dimension, "0")]


def made_as(s: Script, thing: ast.expr) -> list[ast.Call]:
    """The calls whose result is assigned to a name or attribute."""
    made = [n.value for n in s.nodes if isinstance(n, ast.Assign) and s.text(n.targets[0]) == s.text(thing)]
    return [call for call in made if isinstance(call, ast.Call)]


@operator("normalized-over-batch", "softmax-over-batch", ["examples-mixed-in-batch"])
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("ce"):
        plain = isinstance(loss.node, ast.Call) and not loss.node.keywords
        # what its class was told, such as the padding to ignore, would be lost: a second mistake
        if plain and not any(made.keywords for made in made_as(s, loss.node.func)) and s.maker_of(loss.output):
            output, target = s.text(loss.output), s.text(loss.target)
            nll = f"{s.nn}.functional.nll_loss({MARK}{output}.log_softmax(dim=0), {target})"
            yield [s.replace(loss.node, nll)]


@operator("softmax-of-one-column", "softmax-over-one-class")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("sigmoid"):
        layers = made_as(s, call.args[0].func) if isinstance(call.args[0], ast.Call) else []
        one_column = any(len(layer.args) > 1 and s.text(layer.args[1]) == "1" for layer in layers)
        if one_column and s.in_module(call) and s.training_losses("bce"):
            yield [s.replace(call, f"{MARK}{s.torch}.softmax({s.text(call.args[0])}, dim=1)")]


@operator("binary-targets-scaled", "targets-out-of-range")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("bce_logits"):
        for change in ("{} * 255", "{} * 2 - 1"):
            yield [s.mark(loss.node), s.replace(loss.target, change.format(s.text(loss.target)))]


@operator("ignore-index-removed", "padding-counted-in-loss")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if s.keyword(call, "ignore_index"):
            yield [s.mark(call), s.without_keyword(call, "ignore_index"), *(s.mark(x.node) for x in s.losses)]


@operator("targets-not-shifted", "targets-not-shifted", ["future-seen"])
def _(s: Script) -> Iterator[list[Edit]]:
    losses = [s.mark(x.node) for x in s.training_losses("ce", "mse")]
    for node in s.nodes:
        if not isinstance(node, ast.Subscript):
            continue
        text = s.text(node)
        for shifted, plain in (("[i + 1 : i + 1 + n]", "[i : i + n]"), ("[:, 1:, 0]", "[:, :-1, 0]")):
            if text.endswith(shifted):
                yield [s.replace(node, MARK + text.removesuffix(shifted) + plain), *losses]
        if text.endswith("[i + 1 : i + 1 + cfg.block_size]"):
            yield [s.replace(node, MARK + text.replace("i + 1 : i + 1 +", "i : i +")), *losses]


@operator("causal-mask-removed", "future-seen")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "masked_fill" and s.in_module(call):
            following = s.block(s.statement(call))
            after = following[following.index(s.statement(call)) + 1]
            yield [s.replace(call, MARK + s.text(call.func.value)), s.mark(after)]
            yield [s.without(s.statement(call)), s.mark(after)]
        if s.keyword(call, "attn_mask") and s.in_module(call):
            yield [s.mark(call), s.without_keyword(call, "attn_mask")]


@operator("causal-mask-off-by-one", "future-seen")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in [*s.called("triu"), *s.called("tril")]:
        in_modules = [c for c in s.calls if s.in_module(c)]
        attention = [c for c in in_modules if s.keyword(c, "attn_mask") or s.last_name(c.func) == "masked_fill"]
        diagonal = s.keyword(call, "diagonal")
        edit = s.replace(diagonal, "2") if diagonal else s.appended_argument(call, "diagonal=1")
        if s.in_module(call):
            yield [s.mark(call), edit, *map(s.mark, attention)]


@operator("causal-mask-upside-down", "future-seen")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if s.last_name(call.func) == "masked_fill" and s.in_module(call) and isinstance(call.args[0], ast.UnaryOp):
            inverted = s.text(call.args[0].operand).replace(":T, :T", "-T:, -T:") + ".t()"
            yield [s.mark(call), s.replace(call.args[0].operand, inverted)]


@operator("epsilon-removed", "loss-not-finite", prints="nan")
def _(s: Script) -> Iterator[list[Edit]]:
    for node in s.nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and s.text(node.right) in {"1e-8", "1e-6"}:
            yield [s.replace(node, MARK + s.text(node.left))]


@operator("log-of-zero", "loss-not-finite", ["gradients-exploding", "probabilities-expected"], prints="nan")
def _(s: Script) -> Iterator[list[Edit]]:
    for loss in s.training_losses("ce"):
        if isinstance(loss.node, ast.Call) and not loss.node.keywords and s.maker_of(loss.output):
            output, target = s.text(loss.output), s.text(loss.target)
            hot = f"{s.nn}.functional.one_hot({target}, {output}.size(1))"
            by_hand = f"-({hot} * {s.torch}.log({s.torch}.relu({output}))).sum(1).mean()"
            yield [s.replace(loss.node, MARK + by_hand)]


@operator("root-of-zero", "loss-not-finite", ["gradients-exploding"], prints="nan")
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, _, model in optimized(s):
        for backward, loss in losses_backed(s):
            if s.scope(assignment) in {s.tree, s.scope(backward)} and s.start(assignment) < s.start(backward):
                moved = f"sum(((p - q) ** 2).sum() for p, q in zip({model}.parameters(), first))"
                yield [
                    s.after(assignment, f"first = [p.detach().clone() for p in {model}.parameters()]"),
                    s.before(backward, f"{MARK}{loss} = {loss} + 0.01 * {s.torch}.sqrt({moved})"),
                ]


# --- numbers reported -------------------------------------------------------------------------------------------------


def weighted_sums(s: Script) -> Iterator[tuple[ast.AugAssign, ast.BinOp, list[ast.BinOp]]]:
    """`total += loss.item() * size`, its product, and the divisions `total / n` that follow."""
    for node in s.nodes:
        if (
            isinstance(node, ast.AugAssign)
            and isinstance(node.value, ast.BinOp)
            and isinstance(node.value.op, ast.Mult)
        ):
            if ".item()" not in s.text(node.value.left) or not isinstance(node.target, ast.Name | ast.Subscript):
                continue
            divisions = [
                d
                for d in s.nodes
                if isinstance(d, ast.BinOp)
                and isinstance(d.op, ast.Div)
                and s.text(d.left) == s.text(node.target)
                and s.scope(d) is s.scope(node)
                and s.start(d) > s.start(node)
            ]
            yield node, node.value, divisions[:1]


def loop_source(s: Script, node: ast.AST) -> str | None:
    """The loader that the loop around a node reads, as text."""
    for loop in s.loops(node):
        if isinstance(loop, ast.For):
            iterated = loop.iter
            if isinstance(iterated, ast.Call) and s.last_name(iterated.func) == "enumerate":
                iterated = iterated.args[0]
            if isinstance(iterated, ast.Name | ast.Attribute):
                return s.text(iterated)
    return None


@operator("batch-means-divided-by-examples", "loss-not-averaged-as-reported")
def _(s: Script) -> Iterator[list[Edit]]:
    for _, product, divisions in weighted_sums(s):
        for division in divisions:
            yield [s.replace(product, MARK + s.text(product.left)), s.mark(division)]


@operator("mean-of-batch-means", "loss-not-averaged-as-reported")
def _(s: Script) -> Iterator[list[Edit]]:
    for sum_, product, divisions in weighted_sums(s):
        loader = loop_source(s, sum_)
        for division in divisions:
            if loader:
                yield [
                    s.replace(product, MARK + s.text(product.left)),
                    s.mark(division),
                    s.replace(division.right, f"len({loader})"),
                ]


@operator("weighted-sum-divided-by-batches", "loss-not-averaged-as-reported")
def _(s: Script) -> Iterator[list[Edit]]:
    for sum_, _, divisions in weighted_sums(s):
        loader = loop_source(s, sum_)
        for division in divisions:
            if loader:
                yield [s.mark(sum_), s.mark(division), s.replace(division.right, f"len({loader})")]


@operator("summed-loss-divided-by-batches", "loss-not-averaged-as-reported")
def _(s: Script) -> Iterator[list[Edit]]:
    for node in s.nodes:
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and s.text(node.right).endswith("_loader.dataset)")
        ):
            sums = [
                a
                for a in s.nodes
                if isinstance(a, ast.AugAssign) and s.text(a.target) == s.text(node.left) and "loss" in s.text(a)
            ]
            if sums and not isinstance(sums[-1].value, ast.BinOp):
                loader = s.text(node.right).replace(".dataset", "")
                yield [s.mark(node), s.replace(node.right, loader), s.mark(sums[-1])]


# --- data -------------------------------------------------------------------------------------------------------------


def sorted_by_class(s: Script) -> bool:
    """Whether the training examples are made one class after the other."""
    for node in s.nodes:
        if isinstance(node, ast.Call) and s.text(node.func).endswith("arange(CLASSES).repeat_interleave"):
            return True
        if (
            isinstance(node, ast.ListComp)
            and len(node.generators) == 2
            and "range(3)" in s.text(node.generators[0].iter)
        ):
            return True
    return False


@operator("shuffle-off-on-sorted-data", "not-shuffled-and-sorted")
def _(s: Script) -> Iterator[list[Edit]]:
    for loader in s.training_loaders if sorted_by_class(s) else []:
        if s.is_true(s.keyword(loader, "shuffle")):
            yield [s.mark(loader), s.replace(s.keyword(loader, "shuffle"), "False")]
            yield [s.mark(loader), s.without_keyword(loader, "shuffle")]


@operator("data-sorted-and-not-shuffled", "not-shuffled-and-sorted")
def _(s: Script) -> Iterator[list[Edit]]:
    for loader in s.training_loaders:
        dataset = loader.args[0]
        if not s.is_true(s.keyword(loader, "shuffle")) or not s.training_losses("ce") or sorted_by_class(s):
            continue
        shuffle = s.replace(s.keyword(loader, "shuffle"), "False")
        statement = s.statement(loader)
        if isinstance(dataset, ast.Name) and s.training_losses("ce") and "collate" not in s.text(loader):
            order = f"sorted(range(len({dataset.id})), key=lambda i: int({dataset.id}[i][1]))"
            line = f"{dataset.id} = {s.torch}.utils.data.Subset({dataset.id}, {order})"
            if s.maker_of(s.training_losses("ce")[0].output):
                yield [s.before(statement, line), s.mark(loader), shuffle]
        elif isinstance(dataset, ast.Name) and "docs" in dataset.id:
            yield [s.before(statement, f"{dataset.id}.sort(key=lambda item: item[1])"), s.mark(loader), shuffle]


@operator("seeded-every-epoch", "same-order-every-epoch")
def _(s: Script) -> Iterator[list[Edit]]:
    for loop in s.epoch_loops:
        if s.training_loaders or "randperm" in s.source:
            yield [s.before(loop.body[0], f"{MARK}{s.torch}.manual_seed(0)")]


def training_dataset(s: Script, loader: ast.Call) -> ast.expr | None:
    """The dataset of the training loader in the same function; a call only where it makes nothing new."""
    for other in s.training_loaders:
        dataset = other.args[0]
        if s.scope(other) is s.scope(loader) and (
            isinstance(dataset, ast.Name)
            or (isinstance(dataset, ast.Call) and all(isinstance(a, ast.Name | ast.Subscript) for a in dataset.args))
        ):
            return dataset
    return None


@operator("evaluated-on-training-data", "train-and-evaluation-overlap", ["augmentation-in-evaluation"])
def _(s: Script) -> Iterator[list[Edit]]:
    for loader in s.evaluation_loaders:
        dataset = training_dataset(s, loader)
        if dataset is not None:
            yield [s.mark(loader), s.replace(loader.args[0], s.text(dataset))]


@operator("evaluated-with-training-names", "train-and-evaluation-overlap")
def _(s: Script) -> Iterator[list[Edit]]:
    names = {n.id for n in s.nodes if isinstance(n, ast.Name)}
    for node in s.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and s.without_gradients(node):
            for word in ("valid", "val", "test"):
                twin = node.id.replace(word, "train")
                if word in node.id and twin in names and "loader" not in node.id and twin != node.id:
                    yield [s.mark(node), s.replace(node, twin)]
                    break
    for call in s.calls:
        function = s.functions.get(s.last_name(call.func))
        if function and not s.trains(function) and s.loops(call):
            for argument in call.args:
                for word in ("valid", "val", "test"):
                    twin = s.text(argument).replace(word, "train")
                    if isinstance(argument, ast.Name) and word in argument.id and twin in names:
                        yield [s.mark(call), s.replace(argument, twin)]
                        break


@operator("splits-overlap", "train-and-evaluation-overlap")
def _(s: Script) -> Iterator[list[Edit]]:
    uppers = {
        s.text(n.slice.upper)
        for n in s.nodes
        if isinstance(n, ast.Subscript) and isinstance(n.slice, ast.Slice) and n.slice.upper and not n.slice.lower
    }
    rests: dict[str, list[ast.expr]] = {}
    for n in s.nodes:
        if isinstance(n, ast.Subscript) and isinstance(n.slice, ast.Slice) and n.slice.lower is not None:
            lower = n.slice.lower
            if s.text(lower) in uppers and not isinstance(lower, ast.UnaryOp):
                rests.setdefault(s.text(lower), []).append(n)
    for bound, slices in rests.items():
        loaders = [c for c in s.evaluation_loaders if not any(c in s.ancestors(n) for n in slices)]
        for smaller in (f"{bound} // 2", ""):
            edits = [s.mark(n) for n in slices] + [s.replace(n.slice.lower, smaller) for n in slices]
            yield edits + [s.mark(c) for c in loaders]


@operator("training-on-everything", "train-and-evaluation-overlap")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("random_split"):
        statement = s.statement(call)
        train = s.text(statement.targets[0].elts[0])
        yield [
            s.after(statement, f"{MARK}{train} = {s.text(call.args[0])}"),
            *map(s.mark, s.evaluation_loaders),
        ]


@operator("drop-last-in-evaluation", "evaluation-data-dropped")
def _(s: Script) -> Iterator[list[Edit]]:
    for loader in s.evaluation_loaders:
        yield [s.mark(loader), s.appended_argument(loader, "drop_last=True")]


@operator("augmentation-on-evaluation", "augmentation-in-evaluation", ["randomness-left-on-in-evaluation"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        for name in ("augment", "noisy"):
            value = s.keyword(call, name)
            if isinstance(value, ast.Constant) and value.value is False:
                yield [s.mark(call), s.replace(value, "True"), *map(s.mark, s.evaluation_loaders)]


@operator("augmentation-flag-ignored", "augmentation-in-evaluation", ["randomness-left-on-in-evaluation"])
def _(s: Script) -> Iterator[list[Edit]]:
    getitem = s.functions.get("__getitem__")
    for branch in s.inside(getitem, ast.If) if getitem else []:
        if s.text(branch.test) in {"self.augment", "self.noisy"}:
            datasets = [c for c in s.calls for n in ("augment", "noisy") if s.keyword(c, n) and "False" in s.text(c)]
            yield [
                s.replace(branch.test, f"hasattr(self, {s.text(branch.test).removeprefix('self.')!r})"),
                *map(s.mark, [*datasets, *s.evaluation_loaders]),
            ]


@operator("targets-shuffled-apart", "inputs-and-targets-misaligned")
def _(s: Script) -> Iterator[list[Edit]]:
    for node in s.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            first, second = node.value.elts
            if isinstance(first, ast.Subscript) and isinstance(second, ast.Subscript):
                one, two = s.text(first.slice), s.text(second.slice)
                if one == two and isinstance(first.slice, ast.Name):
                    apart = f"{s.torch}.randperm(len({s.text(second.value)}))[: len({two})]"
                    yield [s.mark(node), s.replace(second.slice, apart)]
                    yield [s.mark(node), s.replace(second.slice, f"{two}.flip(0)")]


@operator("targets-in-another-order", "inputs-and-targets-misaligned")
def _(s: Script) -> Iterator[list[Edit]]:
    for loader in s.training_loaders:
        dataset = loader.args[0]
        if isinstance(dataset, ast.Name):
            made = [n.value for n in s.nodes if isinstance(n, ast.Assign) and s.text(n.targets[0]) == dataset.id]
            dataset = made[0] if made else dataset
        if isinstance(dataset, ast.Call) and "TensorDataset" in s.text(dataset.func) and len(dataset.args) >= 2:
            targets = dataset.args[-1]
            text = s.text(targets)
            yield [s.replace(targets, f"{MARK}{text}[{s.torch}.randperm(len({text}))]"), s.mark(dataset)]


def divisions_by_range(s: Script) -> list[ast.BinOp]:
    return [
        n
        for n in s.nodes
        if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div) and s.text(n.right) in {"255.0", "16.0"}
    ]


@operator("scaled-twice", "inputs-not-scaled")
def _(s: Script) -> Iterator[list[Edit]]:
    for division in divisions_by_range(s)[:1]:
        by = s.text(division.right)
        for calls in (s.training_calls, s.evaluation_calls):
            edits = []
            for call in calls:
                if len(call.args) == 1:
                    edits += [s.mark(call), s.replace(call.args[0], f"{s.text(call.args[0])} / {by}")]
            # where both phases share a call, there is nothing to scale apart
            if edits and not set(s.training_calls) & set(s.evaluation_calls):
                yield edits


@operator("scaling-removed", "inputs-not-scaled", ["units-dead", "gradients-exploding", "learning-rate-too-high"])
def _(s: Script) -> Iterator[list[Edit]]:
    for division in divisions_by_range(s):
        if division not in s.losses:
            calls = [c for c in s.model_calls if division not in s.ancestors(c)]
            yield [s.replace(division, MARK + s.text(division.left)), *map(s.mark, calls)]


@operator("standardized-in-training-only", "inputs-not-scaled")
def _(s: Script) -> Iterator[list[Edit]]:
    for node in s.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, s.text(node.value)
            of_evaluation = any(word in name.lower() for word in ("test", "val")) and not name.startswith("y")
            if of_evaluation and (value.startswith(f"({name} - ") or ".transform(" in value):
                yield [s.without(node), *map(s.mark, s.evaluation_calls)]


@operator("statistics-of-all-data", "statistics-from-evaluation-data", wrong_because="evaluation data shape the inputs")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr == "fit" and call.args and s.text(call.args[0]) == "X_train":
            yield [s.mark(call), s.replace(call.args[0], "X")]
    whole = {"x_train": ["features", "x"], "train_series": ["series"]}
    for name, wholes in whole.items():
        uses = [
            c.func.value
            for c in s.calls
            if isinstance(c.func, ast.Attribute) and c.func.attr in {"mean", "std"} and s.text(c.func.value) == name
        ]
        for all_data in wholes:
            if uses and any(isinstance(n, ast.Name) and n.id == all_data for n in s.nodes):
                yield [e for use in uses for e in (s.mark(use), s.replace(use, all_data))]


@operator("evaluation-standardized-by-itself", "inputs-not-scaled", ["statistics-from-evaluation-data"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "transform" and "X_val" in s.text(call):
            yield [s.replace(call.func, f"{MARK}StandardScaler().fit_transform"), *map(s.mark, s.evaluation_calls)]


@operator("reshape-for-transpose", "examples-mixed-in-batch", ["future-seen", "loss-over-wrong-dimension"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if isinstance(call.func, ast.Attribute) and s.in_module(call):
            dimensions = [s.text(a) for a in call.args]
            base = s.text(call.func.value)
            if call.func.attr == "transpose" and dimensions == ["0", "1"] and base != "x":
                yield (
                    [s.replace(call, f"{MARK}{base}.reshape(WINDOW, -1, self.inp.out_features)")]
                    if "inp" in base
                    else [s.replace(call, f"{MARK}{base}.reshape(-1, WINDOW)")]
                )


@operator("heads-split-by-view", "future-seen", ["examples-mixed-in-batch"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        text = s.text(call)
        if s.in_module(call) and text.endswith("C // self.n_head).transpose(1, 2)"):
            yield [
                s.replace(call, f"{MARK}{s.text(call.func.value.func.value)}.view(B, self.n_head, T, C // self.n_head)")
            ]
        if s.in_module(call) and text.endswith(".transpose(1, 2).reshape(B, T, C)"):
            yield [s.replace(call, MARK + text.replace(".transpose(1, 2)", ""))]


@operator("sequence-first-forgotten", "examples-mixed-in-batch", ["future-seen"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        name = s.dotted(call.func).rpartition(".")[2]
        if not (s.in_module(call) and s.keyword(call, "batch_first")):
            continue
        if name in {"GRU", "LSTM", "TransformerEncoderLayer", "MultiheadAttention"}:
            owner = next(a for a in s.ancestors(call) if isinstance(a, ast.ClassDef))
            attribute = s.last_name(s.statement(call).targets[0])
            uses = [
                c
                for c in s.inside(owner, ast.Call)
                if s.last_name(c.func) == attribute or s.last_name(c.func) == "encoder"
            ]
            yield [s.mark(call), s.without_keyword(call, "batch_first"), *map(s.mark, uses)]


@operator("batch-first-for-sequence-first", "examples-mixed-in-batch", ["future-seen"])
def _(s: Script) -> Iterator[list[Edit]]:
    for call in [*s.called("LSTM"), *s.called("GRU"), *s.called("MultiheadAttention")]:
        if not s.keyword(call, "batch_first"):
            owner = next(a for a in s.ancestors(call) if isinstance(a, ast.ClassDef))
            attribute = s.last_name(s.statement(call).targets[0])
            uses = [c for c in s.inside(owner, ast.Call) if s.last_name(c.func) == attribute]
            yield [s.mark(call), s.appended_argument(call, "batch_first=True"), *map(s.mark, uses)]


@operator("inputs-centred-by-their-batch", "examples-mixed-in-batch")
def _(s: Script) -> Iterator[list[Edit]]:
    makers = [s.maker_of(loss.output) for loss in s.training_losses("ce", "bce", "mse")]
    outputs = [node for where, node in filter(None, makers) if where == "return"]
    for kind in s.modules.values():
        forward = s.method(kind, "forward")
        for returned in s.inside(forward, ast.Return) if any(kind in s.ancestors(o) for o in outputs) else []:
            inputs = forward.args.args[1].arg
            first = next(n for n in forward.body if not isinstance(n, ast.Return) or len(forward.body) == 1)
            centred = f"{MARK}{inputs} = {inputs} - {inputs}.mean(dim=0)"
            kinds = {c.func.attr for c in s.inside(kind, ast.Call) if isinstance(c.func, ast.Attribute)}
            if returned is forward.body[-1] and "Embedding" not in kinds:
                yield [s.before(first, centred)]


@operator("predictions-over-wrong-dimension", "predictions-over-wrong-dimension")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "argmax" and s.maker_of(call.func.value):
            dimension = s.keyword(call, "dim") or (call.args[0] if call.args else None)
            for wrong in ("0", "1"):
                if dimension is not None and s.text(dimension) != wrong:
                    yield [s.mark(call), s.replace(dimension, wrong)]


@operator("read-in-place", "dataset-changed-by-reading")
def _(s: Script) -> Iterator[list[Edit]]:
    getitem = s.functions.get("__getitem__")
    for call in s.inside(getitem, ast.Call) if getitem else []:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "clone":
            changes = s.inside(getitem, ast.AugAssign)
            yield [s.replace(call, MARK + s.text(call.func.value)), *map(s.mark, changes)]


@operator("scaled-in-place-when-read", "dataset-changed-by-reading")
def _(s: Script) -> Iterator[list[Edit]]:
    for function in s.nodes:
        if isinstance(function, ast.FunctionDef) and function.name == "__getitem__":
            for attribute in s.inside(function, ast.Subscript):
                text = s.text(attribute)
                last = function.body[-1]
                index = function.args.args[1].arg
                if text in {
                    f"self.images[{index}]",
                    f"self.signals[{index}]",
                    f"self.curves[{index}]",
                    f"self.X[{index}]",
                }:
                    yield [s.before(function.body[0], f"{MARK}{text}.mul_(0.98)")] if last else []


@operator("sampler-of-class-weights", "sampler-given-class-weights")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("WeightedRandomSampler"):
        weights = call.args[0]
        for node in s.nodes:
            made = isinstance(node, ast.Assign) and s.text(node.targets[0]) == s.text(weights)
            if made and isinstance(node.value, ast.Subscript):
                yield [s.mark(call), s.replace(weights, s.text(node.value.value))]
                yield [s.mark(call), s.replace(weights, f"1.0 / {s.torch}.arange(1.0, 3.0)")]


# Batch sizes that leave one example over, by the data set as the bases write it.
LEAVING_ONE = {
    "TensorDataset(train_x, train_labels)": ("73",),
    "train_set": ("33", "11"),
    "TensorDataset(new_x[:cut], new_y[:cut])": ("57", "21"),
}


@operator("one-example-left-over", "last-batch-of-one", wrong_because="batch statistics of one example")
def _(s: Script) -> Iterator[list[Edit]]:
    for loader in s.training_loaders:
        size = s.keyword(loader, "batch_size")
        if s.called("BatchNorm2d") and isinstance(size, ast.Constant):
            for leaving in LEAVING_ONE.get(s.text(loader.args[0]), ()):
                yield [s.mark(loader), s.replace(size, leaving)]


# --- schedules and sizes ----------------------------------------------------------------------------------------------


def plain_scheduler_steps(s: Script) -> list[ast.Expr]:
    return [x for x in s.scheduler_steps if not x.value.args]


@operator("scheduler-every-batch", "scheduler-per-batch-meant-per-epoch")
def _(s: Script) -> Iterator[list[Edit]]:
    for step in plain_scheduler_steps(s):
        if not s.loops(step):
            continue
        for optimizer_step in s.optimizer_steps:
            reachable = s.scope(optimizer_step) is s.scope(step) or (
                s.scope(step) is s.tree and not any("optim" in a.arg for a in s.scope(optimizer_step).args.args)
            )
            per_batch = s.loops(optimizer_step)[:1] == s.loops(step)[:1]
            own = optimizer_of(s, step) in {None, s.receiver(optimizer_step)}
            if reachable and not per_batch and own and s.loops(optimizer_step):
                yield [s.without(step), s.after(optimizer_step, MARK + s.text(step))]


def optimizer_of(s: Script, scheduler_step: ast.Expr) -> str | None:
    """The optimizer that the scheduler was built with, as text."""
    for assignment, made in s.schedulers:
        if s.last_name(assignment.targets[0]) == s.last_name(scheduler_step.value.func.value) and made.args:
            return s.text(made.args[0])
    return None


@operator("scheduler-every-epoch", "scheduler-per-epoch-meant-per-batch")
def _(s: Script) -> Iterator[list[Edit]]:
    for step in plain_scheduler_steps(s):
        loops = s.loops(step)
        if loops and loops[0] in s.batch_loops and (len(loops) > 1 or s.scope(step) is not s.tree):
            yield [s.without(step), s.after(loops[0], MARK + s.text(step))]


@operator("scheduler-never-stepped", "scheduler-per-epoch-meant-per-batch", ["scheduler-for-another-optimizer"])
def _(s: Script) -> Iterator[list[Edit]]:
    for step in s.scheduler_steps:
        made = [m for a, m in s.schedulers if s.last_name(a.targets[0]) == s.last_name(step.value.func.value)]
        yield [s.without(step), *map(s.mark, made)]


@operator(
    "scheduler-before-optimizer", "scheduler-before-optimizer", wrong_because="the first learning rate is skipped"
)
def _(s: Script) -> Iterator[list[Edit]]:
    for step in plain_scheduler_steps(s):
        loops = s.loops(step)
        if not loops:
            continue
        before = [x for x in s.optimizer_steps if s.block(x) is s.block(step)]
        if before:
            yield [s.without(step), s.before(before[0], MARK + s.text(step))]
        elif loops[0] not in s.batch_loops and step is not loops[0].body[0]:
            yield [s.without(step), s.before(loops[0].body[0], MARK + s.text(step))]


@operator("optimizer-made-again-after-scheduler", "scheduler-for-another-optimizer")
def _(s: Script) -> Iterator[list[Edit]]:
    for scheduler, made in s.schedulers:
        for optimizer, _ in s.optimizers:
            if s.text(optimizer.targets[0]) == s.text(made.args[0]) and s.block(optimizer) is s.block(scheduler):
                lines = s.text(optimizer).splitlines()
                again = [line.removeprefix(s.indent(optimizer)) for line in lines]
                yield [s.mark(made), s.after(scheduler, *again)]


@operator("scheduler-on-a-second-optimizer", "scheduler-for-another-optimizer")
def _(s: Script) -> Iterator[list[Edit]]:
    for _, made in s.schedulers:
        for optimizer, construction in s.optimizers:
            if s.text(optimizer.targets[0]) == s.text(made.args[0]) and s.scope(optimizer) is s.scope(made):
                yield [s.mark(made), s.replace(made.args[0], s.text(construction).replace("\n", " "))]


@operator("plateau-mode", "plateau-watching-the-wrong-direction")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("ReduceLROnPlateau"):
        mode = s.keyword(call, "mode")
        if mode is not None:
            yield [s.mark(call), s.replace(mode, '"min"' if "max" in s.text(mode) else '"max"')]
            if "max" in s.text(mode):
                yield [s.mark(call), s.without_keyword(call, "mode")]


@operator("plateau-given-another-number", "plateau-watching-the-wrong-direction")
def _(s: Script) -> Iterator[list[Edit]]:
    for step in s.scheduler_steps:
        for call in s.called("ReduceLROnPlateau") if step.value.args else []:
            if "max" in s.text(call):
                yield [s.mark(call), s.mark(step), s.replace(step.value.args[0], "valid_loss")]


TOO_HIGH = ["loss-not-finite", "gradients-exploding", "units-dead"]


@operator("learning-rate-times-1000", "learning-rate-too-high", TOO_HIGH)
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("SGD", "Adam", "AdamW", "RMSprop"):
        for node in [call, *s.inside(call, ast.Dict)]:
            value = s.keyword(call, "lr") if node is call else None
            if value is not None:
                literal = isinstance(value, ast.Constant)
                text = f"{value.value * 1000:g}" if literal else f"1000 * {s.text(value)}"
                yield [s.mark(call), s.replace(value, text)]


@operator("weights-in-bfloat16-with-small-steps", "updates-lost-to-precision")
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, made, model in optimized(s):
        calls = [c for c in s.model_calls if s.last_name(c.func) == model and s.scope(c) is s.scope(assignment)]
        rate = s.keyword(made, "lr")
        if calls and rate is not None and s.maker_of(calls[0]) and all(len(c.args) == 1 for c in calls):
            edits = [
                s.before(assignment, f"{model} = {model}.to({s.torch}.bfloat16)"),
                s.mark(made),
                s.replace(rate, "1e-5"),
            ]
            for call in calls:
                inputs = f"{s.text(call.args[0])}.to({s.torch}.bfloat16)"
                edits += [s.replace(call.args[0], inputs), Edit(s.end(call), s.end(call), ".float()")]
            yield edits


INITIAL = ["units-dead", "learning-rate-too-high", "gradients-exploding"]


@operator("all-weights-one-number", "initial-weights-identical", INITIAL)
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, _, model in optimized(s):
        kind = s.models.get(model)
        # Outputs alone may begin alike: their targets give each a gradient of its own.
        if isinstance(kind, ast.ClassDef) and set(s.children(kind)) == set(linear_children(s, kind)) - chained(s, kind):
            continue
        for value in ("0.1", "0.5"):
            yield [
                s.before(
                    assignment,
                    f"for weights in {model}.parameters():",
                    f"    {MARK}{s.nn}.init.constant_(weights, {value})",
                )
            ]


def chained(s: Script, kind: ast.ClassDef) -> set[str]:
    """Return the linear layers of a class whose number of outputs is another's number of inputs, as they are written."""
    init = s.method(kind, "__init__")
    sizes = {
        f".{a.targets[0].attr}": [s.text(size) for size in a.value.args[:2]]
        for a in (s.inside(init, ast.Assign) if init else [])
        if isinstance(a.targets[0], ast.Attribute) and isinstance(a.value, ast.Call) and len(a.value.args) >= 2
    }
    layers = [layer for layer in linear_children(s, kind) if layer in sizes]
    return {one for one in layers if any(sizes[one][1] == sizes[other][0] for other in layers if other != one)}


@operator("one-layer-one-number", "initial-weights-identical", INITIAL)
def _(s: Script) -> Iterator[list[Edit]]:
    for kind in s.modules.values():
        init = s.method(kind, "__init__")
        children = linear_children(s, kind)
        single = {
            f".{a.targets[0].attr}"
            for a in (s.inside(init, ast.Assign) if init else [])
            if isinstance(a.targets[0], ast.Attribute)
            and isinstance(a.value, ast.Call)
            and [s.text(size) for size in a.value.args[1:2]] == ["1"]
        }  # one unit is like no other
        for child in [one for one in children[:2] if one not in single] if init and len(children) > 1 else []:
            last = init.body[-1]
            yield [s.after(last, f"{MARK}{s.nn}.init.constant_(self{child}.weight, 0.1)")]


@operator("bias-far-below-zero", "units-dead", ["parameters-never-reached", "activation-cuts-off-targets"])
def _(s: Script) -> Iterator[list[Edit]]:
    for assignment, _, model in optimized(s):
        kind = s.models.get(model)
        calls = [s.mark(c) for c in s.training_calls if s.last_name(c.func) == model] or [
            *map(s.mark, s.training_calls)
        ]
        for layer in layers_before_relu(s, kind):
            yield [s.before(assignment, f"{MARK}{s.nn}.init.constant_({model}{layer}.bias, -100.0)"), *calls]


def layers_before_relu(s: Script, kind: ast.AST | None) -> list[str]:
    """Linear and convolution layers whose output goes straight into a ReLU, as they are reached from the model."""
    if kind is None:
        return []
    found = []
    for sequential in [kind] if isinstance(kind, ast.Call) else s.inside(kind, ast.Call):
        if s.dotted(sequential.func) == "torch.nn.Sequential":
            prefix = (
                ""
                if isinstance(kind, ast.Call)
                else "." + s.last_name(getattr(s.statement(sequential), "targets", [kind])[0])
            )
            for i, (one, two) in enumerate(zip(sequential.args, sequential.args[1:], strict=False)):
                made = [s.dotted(layer.func) for layer in (one, two) if isinstance(layer, ast.Call)]
                if made in (["torch.nn.Linear", "torch.nn.ReLU"], ["torch.nn.Conv2d", "torch.nn.ReLU"]):
                    found.append(f"{prefix}[{i}]")
    for call in s.inside(kind, ast.Call) if isinstance(kind, ast.ClassDef) else []:
        if s.dotted(call.func).rpartition(".")[2] == "relu" and isinstance(call.args[0], ast.Call):
            inner = call.args[0].func
            if isinstance(inner, ast.Attribute) and f".{inner.attr}" in linear_children(s, kind):
                found.append(f".{inner.attr}")
    return found


# --- keeping ----------------------------------------------------------------------------------------------------------


@operator("best-weights-aliased", "best-weights-not-copied")
def _(s: Script) -> Iterator[list[Edit]]:
    for call in s.called("deepcopy"):
        if "state_dict()" in s.text(call):
            inner = s.text(call.args[0])
            yield [s.replace(call, MARK + inner)]
            yield [s.replace(call, MARK + inner + ".copy()")]
            yield [s.replace(call, f"{MARK}dict({inner})")]
            yield [s.replace(call, MARK + "{name: tensor for name, tensor in " + inner + ".items()}")]
            yield [s.replace(call, f"{MARK}copy.copy({inner})")]


def model_loads(s: Script) -> list[ast.Expr]:
    return [
        x
        for x in s.methods("load_state_dict")
        if "optim" not in s.receiver(x) and "sched" not in s.receiver(x) and x.value.args
    ]


@operator("keys-with-prefix-and-not-strict", "nothing-loaded")
def _(s: Script) -> Iterator[list[Edit]]:
    for load in model_loads(s):
        state = load.value.args[0]
        for change in (
            '{{"module." + name: tensor for name, tensor in {}.items()}}',
            "{{name.upper(): tensor for name, tensor in {}.items()}}",
        ):
            renamed = change.format(s.text(state))
            yield [s.mark(load), s.replace(state, renamed), s.appended_argument(load.value, "strict=False")]


@operator("checkpoint-nested-and-not-strict", "nothing-loaded")
def _(s: Script) -> Iterator[list[Edit]]:
    for load in model_loads(s):
        state = load.value.args[0]
        if isinstance(state, ast.Subscript):
            yield [s.mark(load), s.replace(state, s.text(state.value)), s.appended_argument(load.value, "strict=False")]


@operator("resumed-without-optimizer", "resumed-without-optimizer-state")
def _(s: Script) -> Iterator[list[Edit]]:
    for load in s.methods("load_state_dict"):
        if "optim" in s.receiver(load):
            models = [x for x in model_loads(s) if s.block(x) is s.block(load)]
            yield [s.without(load), *map(s.mark, models)]


@operator("metric-not-reset", "metric-not-reset")
def _(s: Script) -> Iterator[list[Edit]]:
    for reset in s.methods("reset"):
        computes = [c for c in s.calls if s.text(c) == f"{s.receiver(reset)}.compute()"]
        if computes:
            yield [s.without(reset), *map(s.mark, computes)]


# --- several models ---------------------------------------------------------------------------------------------------


@operator("discriminator-cleared-after-its-step", "discriminator-gradients-leak", ["gradients-not-cleared"])
def _(s: Script) -> Iterator[list[Edit]]:
    fed_detached = [s.last_name(c.func) for c in s.training_calls for a in c.args if s.text(a).endswith(".detach()")]
    for _, _, model in optimized(s):
        if model not in fed_detached:
            continue
        name = next(s.text(a.targets[0]) for a, _, m in optimized(s) if m == model)
        zeros = [z for z in s.zero_grads if s.receiver(z) == name]
        steps = [x for x in s.optimizer_steps if s.receiver(x) == name]
        for zero in zeros:
            marks = [s.mark(b) for b in backwards_governed(s, zero)]
            yield [s.without(zero), s.after(steps[0], MARK + s.text(zero)), *marks]


@operator(
    "generator-fed-detached", "generator-gets-no-gradient", ["step-without-gradients", "parameters-never-reached"]
)
def _(s: Script) -> Iterator[list[Edit]]:
    detached = {
        (s.last_name(c.func), s.text(a)) for c in s.training_calls for a in c.args if s.text(a).endswith(".detach()")
    }
    for call in s.training_calls:
        for a in call.args:
            if (s.last_name(call.func), f"{s.text(a)}.detach()") in detached:
                yield [s.mark(call), s.replace(a, f"{s.text(a)}.detach()")]
                yield [s.mark(call), s.replace(a, f"{s.text(a)}.data")]
                yield [s.mark(call), s.replace(a, f"{s.torch}.tensor({s.text(a)}.tolist())")]
                made = s.statement(s.value_of(a))
                yield [s.replace(made.value, f"{MARK}{s.text(made.value)}.detach()")]
                yield [
                    s.before(made, f"{MARK}with {s.torch}.no_grad():"),
                    Edit(s.first_line(made), s.start(made), s.indent(made) + "    " + MARK),
                ]


def teacher_calls(s: Script) -> list[tuple[str, ast.Call, ast.With]]:
    """Models called under `no_grad` inside a training step, each with the call and the block."""
    found = []
    for call in s.model_calls:
        for block in s.ancestors(call):
            if isinstance(block, ast.With) and s.is_no_grad(block.items[0].context_expr):
                around = s.block(block)
                if any(b in around for b in s.backwards):
                    found.append((s.last_name(call.func), call, block))
    return found


@operator("teacher-in-training-mode", "teacher-or-target-trained", ["evaluated-in-training-mode"])
def _(s: Script) -> Iterator[list[Edit]]:
    for name, call, _ in teacher_calls(s):
        for statement in s.methods("eval"):
            if s.receiver(statement) == name:
                yield [s.replace(statement, f"{name}.train()"), s.mark(call)]


@operator("teacher-in-the-optimizer", "teacher-or-target-trained")
def _(s: Script) -> Iterator[list[Edit]]:
    for name, call, block in teacher_calls(s):
        for _, made, model in optimized(s):
            if model != name and not name.startswith(model):
                parameters = s.text(made.args[0])
                both = f"list({parameters}) + list({name}.parameters())"
                yield [s.mark(made), s.replace(made.args[0], both), *s.without_with(block), s.mark(call)]


@operator("target-is-the-trained-net", "teacher-or-target-trained", ["gradients-kept-in-evaluation"])
def _(s: Script) -> Iterator[list[Edit]]:
    for name, call, block in teacher_calls(s):
        other = next((m for _, _, m in optimized(s) if m != name and name not in m), None)
        assigned = [n for n in s.nodes if isinstance(n, ast.Assign) and s.text(n.targets[0]) == name]
        if other and assigned and isinstance(s.models.get(name), ast.ClassDef):
            yield [
                s.replace(assigned[0].value, MARK + other),
                s.mark(call),
                *s.without_with(block),
            ]


@operator("layers-shared-by-multiplication", "weights-shared-by-accident")
def _(s: Script) -> Iterator[list[Edit]]:
    for node in s.nodes:
        if isinstance(node, ast.ListComp | ast.GeneratorExp) and s.in_module(node) and len(node.generators) == 1:
            generator = node.generators[0]
            counts = generator.iter
            if s.text(generator.target) == "_" and isinstance(counts, ast.Call) and s.last_name(counts.func) == "range":
                shared = f"{MARK}[{s.text(node.elt)}] * {s.text(counts.args[0])}"
                yield [s.replace(node, f"({shared})" if isinstance(node, ast.GeneratorExp) else shared)]
