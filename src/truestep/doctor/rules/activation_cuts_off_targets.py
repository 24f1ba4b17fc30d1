"""An activation at the end of the model keeps its outputs from reaching the targets.

ReLU gives nothing below 0, sigmoid only [0, 1], tanh only [-1, 1]. Targets outside can't be met however long one trains,
and where ReLU gives 0 its gradient is 0 as well. As logits of a classifier, such outputs can't be sure of a class.

Bad::

    head = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for inputs, _ in loader:
        optimizer.zero_grad()
        outputs = torch.sigmoid(head(inputs))  # <- here
        F.mse_loss(outputs, 3 * inputs[:, :1]).backward()
        optimizer.step()

Good::

    head = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for inputs, _ in loader:
        optimizer.zero_grad()
        outputs = head(inputs)
        F.mse_loss(outputs, 3 * inputs[:, :1]).backward()
        optimizer.step()

Not a mistake: an activation whose range holds the targets, such as tanh for images in [-1, 1] or ReLU for counts.

Source: https://github.com/bkitano/llama-from-scratch/issues/5
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import groups, known_site, lasting, logits, through_selections, through_views, written
from truestep.doctor.record import LossOp, Node, Record

SEVERITY = "error"


NAMES = {
    "ReluBackward0": ("relu", "0 and above"),
    "SigmoidBackward0": ("sigmoid", "[0, 1]"),
    "TanhBackward0": ("tanh", "[-1, 1]"),
    "SoftmaxBackward0": ("softmax", "[0, 1]"),
    "SoftplusBackward0": ("softplus", "0 and above"),
}


def look(record: Record) -> Iterator[Finding]:
    for loss, group, of in groups(record, "mse", "l1", "smooth_l1", "huber", "nll", "log_softmax", "bce_logits"):
        node = _activation(group[0])
        if node is None or node.name not in NAMES:
            continue
        name, reach = NAMES[node.name]
        site = known_site(loss, group)
        ran = next((one.site for op in group if (one := _activation(op)) and one.site), site)
        related = [site] if site else []
        if group[0].kind in ("nll", "log_softmax", "bce_logits"):
            if name in ("relu", "tanh") and len(group) >= max(3, 0.8 * of):
                yield Finding(
                    f"The logits of a classification were the outputs of {name}, {reach}, in {len(group)} of {of} backward "
                    "passes looked at.",
                    written(ran, {name}),
                    f"give the loss the outputs of the last layer, without {name}",
                    {"looked at": of, f"with {name}": len(group)},
                    "warning",
                    related,
                )
        elif lasting(group, of, _unreachable):
            share = min(op.facts["unreachable"] for op in group)
            yield Finding(
                f"{name} gives {reach}, and at least {share:.0%} of the targets lay outside in each of {len(group)} backward "
                "passes looked at.",
                written(ran, {name}),
                f"leave {name} away at the end of the model, or scale the targets into {reach}",
                {
                    "unreachable targets": f"{share:.0%}",
                    "smallest target": group[-1].facts.get("target_min"),
                    "largest target": group[-1].facts.get("target_max"),
                },
                related=related,
            )


def _activation(op: LossOp) -> Node | None:
    if op.kind in ("nll", "log_softmax"):
        return through_views((logits(op) or ())[1:])
    return through_selections(op.chain)


def _unreachable(op: LossOp) -> bool:
    return (op.facts.get("unreachable") or 0) >= 0.05
