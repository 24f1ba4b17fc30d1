"""Questions that several rules ask of a record."""

from __future__ import annotations

import ast
import itertools
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from truestep.doctor import flow, sites, source
from truestep.doctor.record import (
    CallFacts,
    LoaderFacts,
    LossFacts,
    LossOp,
    ModelFacts,
    Node,
    OptimizerFacts,
    ParameterFacts,
    PassFacts,
    Record,
    Site,
)

VIEWS = {
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "TransposeBackward0",
    "PermuteBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "UnsqueezeBackward0",
    "CloneBackward0",
    "SliceBackward0",
    "ToCopyBackward0",
    "AliasBackward0",
    "TBackward0",
    "ExpandBackward0",
}


SELECTIONS = {  # that give some of the numbers that they are given
    "GatherBackward0",
    "SelectBackward0",
    "IndexBackward0",
    "IndexSelectBackward0",
    "MaskedSelectBackward0",
    "TakeAlongDimBackward0",
}


def ops(record: Record, *kinds: str) -> Iterator[tuple[LossFacts, LossOp, int, int]]:
    """Yield the loss functions of some kinds, each with how often it was in the graph and how often was looked.

    Those of one loss, line and chain of operations count as one; the one that knows its line is given.
    """
    for loss in record.losses:
        groups: defaultdict[tuple[object, ...], list[LossOp]] = defaultdict(list)
        for op in loss.ops:
            if op.kind in kinds:
                groups[op.kind, op.depth, tuple(node.name for node in op.chain[:4])].append(op)
        for group in groups.values():
            known = next((op for op in group if op.site is not None), group[0])
            yield loss, known, min(len(group), max(loss.looked_at_ops, 1)), max(loss.looked_at_ops, 1)


KINDS = ("nll", "log_softmax", "bce", "bce_logits", "mse", "l1", "smooth_l1", "huber", "kl_div")


NUMBERS = ("mse", "l1", "smooth_l1", "huber")  # losses of numbers


def groups(record: Record, *kinds: str) -> Iterator[tuple[LossFacts, list[LossOp], int]]:
    """Yield, for each place of a loss function in a graph, what was seen of it, and how often was looked there."""
    for loss in record.losses:
        found: defaultdict[tuple[object, ...], list[LossOp]] = defaultdict(list)
        for op in loss.ops:
            if op.kind in kinds:
                found[op.kind, op.depth, tuple(node.name for node in op.chain[:4])].append(op)
        for group in found.values():
            yield loss, group, max(loss.looked_at_ops, 1)


def logits(op: LossOp) -> Sequence[Node] | None:
    """Return the operations before the softmax of a cross-entropy, its own the first; None of another loss."""
    if op.kind == "log_softmax":
        return [Node("LogSoftmaxBackward0", op.site, op.input_shape, [], {"dim": op.facts.get("dim")}), *op.chain]
    chain = op.chain
    while chain and chain[0].name in VIEWS:
        chain = chain[1:]
    return chain if op.kind == "nll" and chain and chain[0].name == "LogSoftmaxBackward0" else None


def known_site(loss: LossFacts, group: Sequence[LossOp]) -> Site | None:
    """Return the line of a loss function, or that of the backward if it is not known."""
    return next((op.site for op in group if op.site is not None), loss.site)


def lasting(group: Sequence[LossOp], of: int, holds: Callable[[LossOp], bool]) -> bool:
    """Whether something held whenever a loss function was looked at, in most backward passes and at least three."""
    return len(group) >= max(3, 0.6 * of) and all(holds(op) for op in group)


def written(site: Site | None, names: set[str], *, dimension: bool = False) -> Site | None:
    """Return where an activation is written: at the line that ran it if that names it, else where its module is made.

    Args:
        site: the line that ran it.
        names: in lower case: {"softmax"}.
        dimension: whether it is its dimension that is wrong, which a module is told where it is made.
    """
    line, module = sites.statement(site), sites.tree(site.file) if site else None
    if line is None or module is None or site is None:
        return site
    names_here = {_name(node).lower() for node in ast.walk(line)}
    made = [node for node in ast.walk(module) if isinstance(node, ast.Call) and _name(node.func).lower() in names]
    holders = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and node.value in made
        and any(_name(target).lower() in names_here for target in node.targets)
    ]
    if dimension and len(holders) == 1:
        return Site(site.file, holders[0].lineno)
    if any(name.rstrip("_") in names for name in names_here):
        return site
    lasts = [
        node.args[-1]
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and _name(node.func) == "Sequential" and node.args and node.args[-1] in made
    ]
    for found in (made, holders, lasts):
        if len(found) == 1:
            return Site(site.file, found[0].lineno)
    return site


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def through_views(chain: Sequence[Node]) -> Node | None:
    """Return the first operation of a chain that is more than another shape of the same numbers."""
    return next((node for node in chain if node.name not in VIEWS), None)


def through_selections(chain: Sequence[Node]) -> Node | None:
    """Return the first operation of a chain that gives other numbers than it was given."""
    return next((node for node in chain if node.name not in VIEWS | SELECTIONS), None)


OF_SEVERAL = re.compile(
    r"mc_?-?\s?drop|monte|uncertain|bayes|recalib|update_bn|running (stat|mean)|batch.?norm stat|envs?\.|"
    r"rollout|maml|inner_loop|adapt(?!ive_?\w*pool)|support_|episode",
    re.IGNORECASE,
)
ON_PURPOSE = re.compile(f"{OF_SEVERAL.pattern}|ensembl", re.IGNORECASE)  # of one model, dropout makes the members


def assigned_name(site: Site | None) -> str:
    """Return the name of what is made at a line: 'test_loader' of `test_loader = DataLoader(...)`."""
    line = sites.statement(site)
    if isinstance(line, ast.Assign) and len(line.targets) == 1:
        return _name(line.targets[0])
    return ""


def filled(site: Site | None) -> Site | None:
    """Return the first line of a file that fills weights with one number."""
    module = sites.tree(site.file) if site else None
    for node in ast.walk(module) if module is not None else ():
        if not isinstance(node, ast.Call) or _name(node.func) not in ("constant_", "ones_", "zeros_", "fill_", "zero_"):
            continue
        if site is not None and "bias" not in ast.unparse(node) and "grad" not in ast.unparse(node):
            return Site(site.file, node.lineno)
    return None


def mixed(record: Record) -> Iterator[tuple[ModelFacts, dict[str, Any]]]:
    """Yield the models in which the examples of a batch change each other's outputs, with what a replay saw.

    Only where dimension 0 is certainly the batch: a loader gave as many examples, inputs of three and more dimensions
    become one row an example, or a model without a sense of order is given other rows in each call. The nodes of a graph
    and the steps of one long series are no examples. What makes (a, batch, b) (batch, a * b) scrambles them whatever they
    are, and however little it does at first.
    """
    for model in record.models:
        probe = model.probes.get("batch") or {}
        moved, own = probe.get("moved", 0), probe.get("own", 0)
        if not model.reached or own < 1e-3 or probe.get("site") is None:
            continue
        if moved >= 1e-5 and scrambled(probe):
            yield model, probe
            continue
        batch, given = probe["batch"], probe["input"]
        # Of a softmax over many examples each gets next to nothing of what another one moved, and all get it.
        over_batch = "softmax" in probe.get("operation", "") and probe["given"][:1] == (batch,)
        if not moved >= (1e-4 if over_batch else min(1e-2, 1e-2 * own)):
            continue
        loaders = {number for call in model.calls if call.trained for number in call.passes if number >= 0}
        loaded = any(record.loaders[number].batch_size == batch for number in loaders if number < len(record.loaders))
        rows = len(given) >= 3 and len(probe["output"]) == 2 and given[0] != given[1]
        read = [one for one in record.inputs if one.model == model.number and one.call.trained]
        if over_batch and len(probe["output"]) == 1 and [*probe["given"], 1][1] not in (1, batch):
            # Several weights an example, and one answer.
            rows = rows or len(given) >= 3 or not any(one.floating for one in read)
        varied = not model.ordered and len(given) == 2 and any(one.distinct >= 3 * batch for one in read)
        if loaded or ((rows or varied) and not loaders):
            yield model, probe


def judges(model: ModelFacts, generator: ModelFacts) -> bool:
    """Whether a model that another one feeds learns by itself too, of real examples, with an optimizer of its own."""
    if not set(model.owned_by) - set(generator.owned_by):
        return False
    own = {number for call in model.calls for number in call.losses}
    shared = {number for call in generator.calls for number in call.losses}
    return bool(own - shared) or sum(c.trained for c in model.calls) > sum(c.trained for c in generator.calls)


def scrambled(probe: dict[str, Any]) -> bool:
    """Whether the operation that mixed examples took them from dimension 1 to dimension 0 without a transposition."""
    batch, given, gave = probe["batch"], probe.get("given", ()), probe.get("gave", ())
    if probe.get("operation") not in ("view", "reshape") or probe["dim"] or len(given) != 3 or given[1] != batch:
        return False
    return given[0] not in (1, batch) and gave[0] == batch and gave[1:2] == (given[0] * given[2],)


def evaluations(record: Record) -> Iterator[tuple[ModelFacts, CallFacts]]:
    """Yield the calls of trained models that nothing was learnt from, and whose outputs the script looks at.

    Left out are outputs that may come into a loss (pseudo-labels, acting, generators), those of the training batch itself,
    of one batch several times over (Monte Carlo dropout), and calls that only refresh batch norm's statistics.
    """
    for model in record.models:
        if not (model.reached and model.owned_by):
            continue
        if any(judges(record.models[other], model) for other in model.feeds):
            continue
        learning_sites = {call.site for call in model.calls if call.trained}
        for call in model.calls:
            n = call.untrained
            if not n or not call.last_step or call.site is None or 2 * call.repeated > n:
                continue
            if 2 * (call.repeated + call.on_trained_inputs) > n and not held_out_rows(call.site):
                continue
            if call.trained and call.consecutive < 4:
                continue
            several = any(one.site == call.site for other in record.models if other is not model for one in other.calls)
            if flow.thrown_away(call.site) or flow.written_over(call.site):
                continue
            if flow.speaks_of(call.stack, OF_SEVERAL if several else ON_PURPOSE):
                continue
            if call.site not in learning_sites and flow.learnt_from(call.stack, record.losses):
                continue
            yield model, call


# What names say that a piece of data is for. A name alone is never a finding: it decides what a fact means.

HELD_OUT = {
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "tst",
    "te",
    "va",
    "eval",
    "evaluation",
    "dev",
    "held",
    "heldout",
    "holdout",
}
TRAINING = {"train", "training", "trn", "tr", "fit"}
NO_DATA = {"mask", "masks", "idx", "index", "indices", "ids", "every", "interval", "overfit", "debug", "sanity", "fold"}


def words(text: str) -> set[str]:
    """Return the words of names: "valLoader2" has "val" and "loader"."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}


def held_out_rows(site: Site) -> bool:
    """Whether what a line makes is indexed by a name of held out data, and never by one of training data.

    So it is where one graph or table holds all examples, and masks tell what they are for.
    """
    function, statement = sites.function(site), sites.statement(site)
    if function is None or statement is None:
        return False
    made = source.targets_of(statement)
    said: set[str] = set()
    start = False
    for line in sorted(source.own_statements(function), key=lambda one: one.lineno):
        start = start or line is statement
        if not start:
            continue
        if line is not statement and isinstance(line, ast.Assign) and source.targets_of(line) & made:
            break
        for node in source.expressions(line):
            if isinstance(node, ast.Subscript) and (source.name_of(node.value) in made or line is statement):
                said |= words(identifiers(node.slice))
            if isinstance(node, ast.Call) and any(source.name_of(one) in made for one in node.args):
                said |= {word for one in node.args for word in words(identifiers(one))}
    return bool(said & HELD_OUT) and not said & TRAINING


def identifiers(node: ast.AST) -> str:
    """Return the names in an expression, and the texts that it looks things up by."""
    return " ".join(
        part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else str(part.value)
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str))
    )


def verdict(text: str) -> str:
    """Return "held out", "training" or, if names say neither or both, ""."""
    said = words(text)
    if said & NO_DATA:
        return ""
    held, training = bool(said & HELD_OUT), bool(said & TRAINING)
    return "held out" if held and not training else "training" if training and not held else ""


def outermost_calls(node: ast.AST) -> list[ast.Call]:
    """Return the calls of a statement that are in no other, in the order of the text."""
    if isinstance(node, ast.Call):
        return [node]
    return [call for child in ast.iter_child_nodes(node) for call in outermost_calls(child)]


def _name_around(statement: ast.stmt, call: ast.Call) -> str:
    """Return the name that a statement gives to what a call returns."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if value is call and key is not None:
                    return identifiers(key)
        if isinstance(node, ast.keyword) and node.value is call:
            return node.arg or ""
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if isinstance(target, ast.Tuple | ast.List) and isinstance(statement.value, ast.Tuple | ast.List):
                for one, value in zip(target.elts, statement.value.elts, strict=False):
                    if value is call:
                        return identifiers(one)
        return " ".join(identifiers(target) for target in targets)
    return ""


def purpose(record: Record, loader: LoaderFacts) -> tuple[str, Site | None]:
    """Say what a loader is for by the names around it, and the line that says so."""
    for depth, site in enumerate(loader.stack):
        statement = sites.statement(site)
        if statement is None:
            continue
        twins = [one for one in record.loaders if one.stack[depth : depth + 1] == [site]]
        calls = outermost_calls(statement)
        if not calls or isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        call = calls[twins.index(loader) % len(calls)]
        around = sites.function(site)
        named = around.name if isinstance(statement, ast.Return) and isinstance(around, ast.FunctionDef) else ""
        given = (
            identifiers(call.args[0]) if call.args else " ".join(identifiers(one.value) for one in call.keywords[:1])
        )
        for text in (_name_around(statement, call), named, given):
            if said := verdict(text):
                return said, site
    return use(loader.used)[0], loader.site


def use(stack: Sequence[Site]) -> tuple[str, Site | None]:
    """Say what data is for by the names in the lines that use it, innermost first, and the line that says so."""
    for site in stack:
        statement = sites.statement(site)
        if statement is None:
            continue
        around = [statement, *(loop for loop in loops(site)[:1] if isinstance(loop, ast.For))]
        for node in around:
            if isinstance(node, ast.For):
                text = identifiers(node.iter)
            else:
                text = " ".join(
                    identifiers(part) for call in outermost_calls(node) for part in (*call.args, *call.keywords)
                )
            if said := verdict(text):
                return said, site
    return "", None


def loops(site: Site | None) -> list[ast.For | ast.While]:
    """Return the loops around a line in its function, innermost first."""
    around = sites.function(site)
    if around is None or site is None:
        return []
    found = [
        node
        for node in ast.walk(around)
        if isinstance(node, ast.For | ast.While) and node.lineno < site.line <= (node.end_lineno or node.lineno)
    ]
    return sorted(found, key=lambda node: -node.lineno)


def last_trained(record: Record, models: set[int], step: int, without: int = -1) -> PassFacts | None:
    """Return the pass over a loader on which one of some models was trained last, before a step."""
    passes = [
        one
        for loader in record.loaders
        for one in loader.passes
        if one.loader != without and one.backwards and one.first_step < step and (one.model in models or not models)
    ]
    return max(passes, key=lambda one: one.first_step, default=None)


def models_of(record: Record, loader: LoaderFacts) -> set[int]:
    """Return the models that were given a loader's batches."""
    return {one.model for one in record.inputs if one.loader == loader.number}


STAY = ("frozen", "fixed", "pretrain", "reservoir", "random", "teacher", "target", "ema", "momentum", "reference")


def unowned(record: Record) -> list[ParameterFacts]:
    """Return what losses reach again and again and no optimizer ever had."""
    return [p for p in record.parameters if p.reached >= 3 and not p.optimizers and not p.moved]


def named_to_stay(record: Record, parameter: ParameterFacts) -> bool:
    """Whether a parameter's name, or its model's class, says that it shall not learn."""
    words = f"{parameter.name} {record.models[parameter.model].kind if parameter.model >= 0 else ''}".lower()
    return any(word in words for word in STAY)


def optimizers_beside(record: Record, parameter: ParameterFacts) -> list[OptimizerFacts]:
    """Return the optimizers that train parameters of models by the same losses as reach this one."""
    numbers = {
        number for p in record.parameters if p.model >= 0 and p.losses & parameter.losses for number in p.optimizers
    }
    return [one for one in record.optimizers if one.number in numbers and one.steps >= 3]


def stepped_first(optimizer: OptimizerFacts) -> int:
    """Return how many of the looked-at steps came between a forward pass and its backward; 0 if that is not its habit."""
    windows = optimizer.windows
    if len(windows) < 4 or optimizer.closures or optimizer.inside_backward or "backward" in windows[0].kinds:
        return 0
    early = 0
    for window, following in itertools.pairwise(windows):
        kinds = [kind for kind in window.kinds if kind in ("forward", "backward")]
        after = next((kind for kind in following.kinds if kind in ("forward", "backward")), "")
        early += bool(kinds) and kinds[-1] == "forward" and after == "backward"
    return early if early >= 3 and early >= 0.8 * (len(windows) - 1) else 0


def cleared_by_hand(optimizer: OptimizerFacts) -> Site | None:
    """Return the line beside its steps that writes `.grad = None` or zeros a gradient."""
    step = optimizer.step_sites.most_common(1)[0][0] if optimizer.step_sites else None
    function = sites.function(step)
    if function is None or step is None:
        return step
    for statement in source.own_statements(function):
        if isinstance(statement, ast.Assign) and any(source.name_of(target) == "grad" for target in statement.targets):
            return Site(step.file, statement.lineno)
        for node in source.expressions(statement):
            zeroed = (
                isinstance(node, ast.Call) and source.name_of(node.func) == "zero_" and "grad" in ast.unparse(node.func)
            )
            if zeroed or (isinstance(node, ast.Call) and source.name_of(node.func) == "zero_grad"):
                return Site(step.file, statement.lineno)
    return step


USUAL = 0.1  # learning rates up to here are nothing special, whatever the optimizer


def burst(optimizer: OptimizerFacts) -> tuple[float, float] | None:
    """Return the gradients and weights of the first steps where gradients burst while the weights were nearly as they began.

    A rate that is too high moves weights far first, and their gradients are large then. So it is asked of usual rates only.
    """
    norms, moved = optimizer.gradient_norms, optimizer.update_ratios
    if any(rate > USUAL for _, rate in optimizer.learning_rates[:1]):
        return None
    for place, (_, gradient, weights) in enumerate(norms[:4]):
        if sum(moved[:place]) > 0.7 or not weights < 1.5 * norms[0][2]:
            return None
        if gradient > 1_000 * max(weights, norms[0][1]):
            return gradient, weights
    return None


class Overshot(NamedTuple):
    """What the first steps of an optimizer did to a loss."""

    optimizer: OptimizerFacts
    loss: LossFacts
    ratio: float  # change of the weights in one of its first steps, of their size
    first: float  # the loss ahead of them
    highest: float
    last: float


def overshot(record: Record) -> Overshot | None:
    """Return the optimizer whose first steps changed weights several times over and threw a loss far up, if there is one."""
    for optimizer in sorted(record.optimizers, key=lambda one: -max(one.update_ratios[:1], default=0.0)):
        ratio = max(optimizer.update_ratios[:3], default=0.0)
        for loss in record.losses:
            values = [value for step, value in loss.values if step >= optimizer.first_step and math.isfinite(value)]
            if ratio <= 1 or len(values) < 5 or loss.times < 15 or loss.site not in optimizer.backward_sites:
                continue
            first, highest, last = values[0], max(values[:15]), statistics.median(values[-len(values) // 3 :])
            kinds = {op.kind for op in loss.ops}
            supervised = bool(kinds) and kinds <= set(KINDS) and first > 0
            if any(gradient > 1_000 * weights for _, gradient, weights in optimizer.gradient_norms[:1]):
                continue  # it is not the rate that is too large
            if burst(optimizer) is not None:
                continue
            thrown = supervised and ratio > 3 and highest > 10 * first
            lost = supervised and highest > 3 * first and last > 0.8 * first
            if thrown or lost or (ratio > 3 and last > 100 * max(first, 1.0)):
                return Overshot(optimizer, loss, ratio, first, highest, last)
    return None
