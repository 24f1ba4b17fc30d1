"""Questions that several rules ask of a record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from truestep.doctor.record import LossFacts, LossOp, Node, Record

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
