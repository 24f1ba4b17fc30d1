"""A loss that expects log-probabilities is given logits or probabilities.

`NLLLoss` only picks a number for each example: of raw logits or probabilities, the loss is negative and falls without end,
or stays in [-1, 0], with wrong gradients. `KLDivLoss` wants the logarithms of its input's probabilities; with anything
else it is no divergence, and may become negative. `CTCLoss` wants log-probabilities too.

Bad::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(inputs), targets)  # <- here
        loss.backward()
        optimizer.step()

Good::

    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(F.log_softmax(model(inputs), dim=1), targets)
        loss.backward()
        optimizer.step()

Not a mistake: logarithms of probabilities that were mixed or smoothed first, or the reverse divergence with the model's
probabilities as targets.

Source: https://github.com/AnubhavGupta3377/Text-Classification-Models-Pytorch/issues/9
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site, lasting, through_views
from truestep.doctor.record import LossOp, Record

SEVERITY = "error"
HIDES = ["gradients-exploding"]


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "nll", "kl_div", "ctc"):
        kind = group[0].kind
        for holds, given, fix in CASES[kind]:
            if lasting(group, of, holds):
                facts = group[-1].facts
                yield Finding(
                    f"{NAMES[kind]} was given {given} in {len(group)} of {of} backward passes looked at.",
                    known_site(loss, group),
                    fix,
                    {
                        "looked at": of,
                        "smallest input": facts.get("input_min"),
                        "largest input": facts.get("input_max"),
                        "loss": loss.values[-1][1] if loss.values else None,
                    },
                )
                break


def _probabilities(op: LossOp) -> bool:
    facts = op.facts
    low, high = facts.get("as_probabilities", (-1, 2))
    unshifted = abs(low - facts.get("input_min", 9)) < 1e-3 and abs(high - facts.get("input_max", 9)) < 1e-3
    return (
        facts.get("classes", 0) > 1 and facts.get("input_min", -1) >= 0 and facts.get("input_max", 2) <= 1 and unshifted
    )


def _logits(op: LossOp) -> bool:
    return op.facts.get("classes", 2) > 1 and op.facts.get("input_max", 0) > 1e-3 and op.facts.get("log_sums", 0) > 0.2


def _kl_probabilities(op: LossOp) -> bool:
    return op.facts.get("input_min", -1) >= 0 and op.facts.get("raw_sums", 1) < 1e-2


def _kl_logits(op: LossOp) -> bool:
    last = through_views(op.chain)  # of a divergence, PyTorch does not keep the inputs
    unsaved = op.facts.get("by_hand") and last is not None and last.name in ("AddmmBackward0", "MmBackward0")
    return bool(unsaved) or (op.facts.get("input_max", 0) > 1e-3 and op.facts.get("sums", 0) > 0.2)


NAMES = {"nll": "NLLLoss", "kl_div": "KLDivLoss", "ctc": "CTCLoss"}
CASES = {
    "nll": (
        (
            _probabilities,
            "probabilities, not their logarithms",
            "give it F.log_softmax(logits, dim=1), or use cross_entropy",
        ),
        (_logits, "logits, not log-probabilities", "use F.cross_entropy, or give it F.log_softmax(logits, dim=1)"),
    ),
    "kl_div": (
        (
            _kl_probabilities,
            "probabilities as its input, not their logarithms",
            "F.kl_div(log_softmax(x, dim=-1), p, ...)",
        ),
        (_kl_logits, "logits as its input, not log-probabilities", "F.kl_div(log_softmax(x, dim=-1), p, ...)"),
    ),
    "ctc": ((_logits, "logits, not log-probabilities", "give it logits.log_softmax(2)"),),
}
