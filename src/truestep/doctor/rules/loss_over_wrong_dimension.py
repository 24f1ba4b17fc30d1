"""A loss runs over another dimension than it is meant to.

Cross-entropy wants the classes in dimension 1: (N, C, T). Outputs of shape (N, T, C) pass as they are if T equals C, and
any outputs pass after a `view`, which moves no dimension but tells the numbers off anew: each target is compared with
scores of other places and other classes. A cosine similarity over dimension 0 of (N, D) compares columns of the batch, not
examples.

Bad::

    tagger = nn.Linear(1, 5)
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        scores = tagger(inputs.unsqueeze(2))
        tags = targets.unsqueeze(1).expand(-1, 8)
        F.cross_entropy(scores.view(-1, 5, 8), tags).backward()  # <- here
        optimizer.step()

Good::

    tagger = nn.Linear(1, 5)
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        scores = tagger(inputs.unsqueeze(2))
        tags = targets.unsqueeze(1).expand(-1, 8)
        F.cross_entropy(scores.permute(0, 2, 1), tags).backward()
        optimizer.step()

Not a mistake: outputs of a convolution, whose classes are in dimension 1 already; `view(-1, C)` of outputs whose last
dimension is the classes; a correlation over the batch, with each column's mean taken off.

Source: https://github.com/voiler/IMPALA/issues/3
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site, lasting, logits
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"


RESHAPES = ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0")


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "nll"):
        for wrong, words, fix in CASES:
            if lasting(group, of, wrong):
                shape = (logits(group[0]) or group[0].chain)[0].shape
                yield Finding(
                    f"{words} (scores {shape}, targets {group[0].target_shape}) in {len(group)} of {of} backward passes "
                    "looked at.",
                    known_site(loss, group),
                    fix,
                    {"scores": shape, "targets": group[0].target_shape},
                )
                break
    yield from _of_columns(record)


def _of_columns(record: Record) -> Iterator[Finding]:
    """Find cosine similarities of the columns of a batch, where the rows are the examples."""
    sizes = {size for model in record.models for call in model.calls if call.trained for size in call.batch_sizes}
    for loss in record.losses:
        over = [node for node in loss.alike if node.shape[0] in sizes and 1 < node.shape[1] not in sizes]
        if len(over) < 3 or len(over) < 0.6 * len(loss.alike):
            continue
        site = next((node.site for node in over if node.site), loss.site)
        yield Finding(
            f"The cosine similarity runs over the {over[0].shape[0]} examples of a batch of shape {over[0].shape}: it compares "
            f"each of {over[0].shape[1]} columns, and no example with its target.",
            site,
            "cosine similarity over the features: dim=1, or dim=-1",
            {"shape": over[0].shape, "dimension": 0},
            "warning",
        )


def _of_linear(op: LossOp) -> bool:
    """Whether scores (N, T, C) with T equal to C come straight from a layer that puts classes last."""
    chain = logits(op) or ()
    if len(chain) < 2 or len(chain[0].shape) != 3:
        return False
    shape = chain[0].shape
    if chain[0].facts.get("dim") != 1 or shape[1] != shape[2] or shape[0] < 2:
        return False
    if chain[1].name == "AddBackward0" and chain[1].shape == shape and chain[1].inputs == [shape, shape[2:]]:
        return True  # the bias of a linear layer, one number a class
    return (
        len(chain) >= 3
        and chain[1].name in RESHAPES
        and chain[2].name in ("AddmmBackward0", "MmBackward0")
        and chain[2].shape
        == (
            shape[0] * shape[1],
            shape[2],
        )
    )


def _scrambled(op: LossOp) -> bool:
    """Whether a view swapped two dimensions of the scores, or flattened (N, C, ...) to (M, C)."""
    chain = logits(op) or ()
    if len(chain) < 2 or chain[1].name not in RESHAPES:
        return False
    after, before = chain[1].shape, chain[1].inputs[0]
    if before is None or len(before) < 3:
        return False
    if len(after) == 3 == len(before):
        return after[0] == before[0] and after[1:] == (before[2], before[1]) and after[1] != after[2] and min(after) > 1
    if len(after) == 2:
        return after[1] == before[1] != before[-1] and after[0] > before[0] > 1 and after[1] > 1
    return False


CASES = (
    (
        _of_linear,
        "Cross-entropy took the places for the classes: a linear layer puts classes last",
        "scores.transpose(1, 2)",
    ),
    (
        _scrambled,
        "A view changed the order of the scores instead of swapping their dimensions",
        "permute the classes, then reshape",
    ),
)
