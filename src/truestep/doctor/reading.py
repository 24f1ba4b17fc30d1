"""Questions that several rules ask of a record."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from truestep.doctor import flow
from truestep.doctor.record import CallFacts, LossFacts, LossOp, ModelFacts, Node, Record

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


ON_PURPOSE = re.compile(
    r"mc_?-?\s?drop|monte|uncertain|bayes|recalib|update_bn|running (stat|mean)|batch.?norm stat|envs?\.|"
    r"rollout|maml|inner_loop|adapt|support_|episode|ensembl",
    re.IGNORECASE,
)


def evaluations(record: Record) -> Iterator[tuple[ModelFacts, CallFacts]]:
    """Yield the calls of trained models that nothing was learnt from, and whose outputs the script looks at.

    Left out are outputs that may come into a loss (pseudo-labels, acting, generators), those of the training batch itself,
    of one batch several times over (Monte Carlo dropout), and calls that only refresh batch norm's statistics.
    """
    for model in record.models:
        if not (model.reached and model.owned_by):
            continue
        if any(not set(model.owned_by) & set(record.models[other].owned_by) for other in model.feeds):
            continue  # a generator, which another optimizer's model judges
        learning_sites = {call.site for call in model.calls if call.trained}
        for call in model.calls:
            n = call.untrained
            if not n or not call.last_step or call.site is None or 2 * (call.repeated + call.on_trained_inputs) > n:
                continue
            if call.trained and call.consecutive < 4:
                continue
            if flow.thrown_away(call.site) or flow.speaks_of(call.stack, ON_PURPOSE):
                continue
            if call.site not in learning_sites and flow.learnt_from(call.stack, record.losses):
                continue
            yield model, call
