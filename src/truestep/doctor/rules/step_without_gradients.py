"""The optimizer steps over parameters that no backward pass gives a gradient.

It was made for another model than the one that computes the loss, or for a part that the loss does not depend on. Or
there is no backward at all: `torch.autograd.grad` hands gradients back and leaves `.grad` as it is. The step does
nothing, without a word.

Bad::

    other = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    weight = torch.zeros(8, 3, requires_grad=True)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(inputs @ weight, targets).backward()
        optimizer.step()  # <- here

Good::

    weight = torch.zeros(8, 3, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(inputs @ weight, targets).backward()
        optimizer.step()

Not a mistake: one of several optimizers that rests for a while; a loop without backward that draws a schedule.

Source: https://github.com/Hsintien-Ng/idinvert_pytorch-reproduced/issues/1
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import OptimizerFacts, Record

SEVERITY = "error"


def _handed_back(optimizer: OptimizerFacts) -> Finding:
    return Finding(
        f"None of the {optimizer.steps} steps of {optimizer.kind} had a gradient: torch.autograd.grad hands the gradients of "
        "its parameters back and leaves their .grad as it is.",
        optimizer.step_sites.most_common(1)[0][0],
        "loss.backward()  # before the step, instead of torch.autograd.grad",
        {"steps": optimizer.steps, "without gradients": optimizer.without_gradients},
    )


def look(record: Record) -> Iterator[Finding]:
    active = [o for o in record.optimizers if o.steps > o.without_gradients]
    for optimizer in record.optimizers:
        enough = 3 if not active else 20
        if optimizer.steps < enough or optimizer.without_gradients < optimizer.steps or optimizer.backward_sites:
            continue
        own = [p for p in record.parameters if optimizer.number in p.optimizers]
        if optimizer.differentiated >= 0.8 * min(optimizer.steps, 50) and not any(p.moved for p in own):
            yield _handed_back(optimizer)
            continue
        if optimizer.after_backward < 0.8 * optimizer.steps or optimizer.vanished or optimizer.cleared_after_backward:
            continue
        if any(p.moved or p.gradients or (active and p.reached) for p in own):
            continue
        if own and all(p.called >= 3 and p.called == p.called_without_gradients and not p.loaded for p in own):
            continue  # parameters-never-reached says where their gradients are switched off
        yield Finding(
            f"None of the {optimizer.steps} steps of {optimizer.kind} had a gradient, though a backward pass came before "
            f"{optimizer.after_backward} of them.",
            optimizer.step_sites.most_common(1)[0][0],
            "make the optimizer of the parameters that the loss depends on",
            {"steps": optimizer.steps, "without gradients": optimizer.without_gradients},
            related=[site for site in (optimizer.site,) if site],
        )
