"""Questions that several rules ask of a record."""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from truestep.doctor import flow, sites
from truestep.doctor.record import LossFacts, LossOp, Node, OptimizerFacts, ParameterFacts, Record, Site

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
            yield loss, known, min(len(group), max(loss.looked_at, 1)), max(loss.looked_at, 1)


def through_views(chain: Sequence[Node]) -> Node | None:
    """Return the first operation of a chain that is more than another shape of the same numbers."""
    return next((node for node in chain if node.name not in VIEWS), None)


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
    if len(windows) < 4 or optimizer.closures or "backward" in windows[0].kinds:
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
    for statement in flow.own_statements(function):
        if isinstance(statement, ast.Assign) and any(flow.name_of(target) == "grad" for target in statement.targets):
            return Site(step.file, statement.lineno)
        for node in flow.expressions(statement):
            zeroed = (
                isinstance(node, ast.Call) and flow.name_of(node.func) == "zero_" and "grad" in ast.unparse(node.func)
            )
            if zeroed or (isinstance(node, ast.Call) and flow.name_of(node.func) == "zero_grad"):
                return Site(step.file, statement.lineno)
    return step
