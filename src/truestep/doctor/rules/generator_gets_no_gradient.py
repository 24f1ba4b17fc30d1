"""The generator's loss does not reach the generator: what it made was detached on the way.

`detach` belongs to the discriminator's step, where the generator is to be left alone. In the generator's own step it cuts
the only way to its weights. Its optimizer steps and changes nothing: the samples stay the noise that they were in the
first step, the discriminator wins, and its loss goes to zero.

Bad::

    generator = nn.Linear(4, 8)
    judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.01)
    of_judge = torch.optim.SGD(judge.parameters(), lr=0.01)
    for real, _ in loader:
        made = generator(torch.randn(len(real), 4))
        of_judge.zero_grad()
        (F.softplus(-judge(real)) + F.softplus(judge(made.detach()))).mean().backward()
        of_judge.step()
        of_generator.zero_grad()
        verdict = judge(made.detach())  # <- here
        F.softplus(-verdict).mean().backward()
        of_generator.step()

Good::

    generator = nn.Linear(4, 8)
    judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.01)
    of_judge = torch.optim.SGD(judge.parameters(), lr=0.01)
    for real, _ in loader:
        made = generator(torch.randn(len(real), 4))
        of_judge.zero_grad()
        (F.softplus(-judge(real)) + F.softplus(judge(made.detach()))).mean().backward()
        of_judge.step()
        of_generator.zero_grad()
        verdict = judge(made)
        F.softplus(-verdict).mean().backward()
        of_generator.step()

Not a mistake: `detach` in the discriminator's step; a generator that is trained now and then only.

Source: https://github.com/nikhilsinghmus/image2reverb/issues/37
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.record import ModelFacts, OptimizerFacts, Record, Site

SEVERITY = "error"
CUTS = {"detach", "detach_", "data", "tolist", "numpy", "item", "tensor", "from_numpy"}
HIDES = ["step-without-gradients", "parameters-never-reached", "loss-detached"]


def look(record: Record) -> Iterator[Finding]:
    for optimizer in record.optimizers:
        idle = optimizer.without_gradients >= 0.8 * optimizer.steps or (
            optimizer.looked_at > 0 and optimizer.with_zero_gradients >= 0.8 * optimizer.looked_at
        )
        if optimizer.steps < 3 or not idle:
            continue
        mine = [
            model
            for model in record.models
            if optimizer.number in (model.owned_by or [optimizer.number])
            and model.parameters >= optimizer.parameters
            and model.calls
            and not any(call.trained for call in model.calls)
        ]
        others = [
            model for model in record.models if model not in mine and mine and judges(record, model, mine[0], optimizer)
        ]
        if not mine or not others or not by_itself(optimizer):
            continue
        backward = _backward(optimizer)
        reached = [loss for loss in record.losses if loss.site == backward]
        if not any(loss.reached_of_models[model.number] for loss in reached for model in others):
            continue
        if any(p.reached or p.gradients for p in record.parameters if optimizer.number in p.optimizers):
            continue
        site = _made(mine[0]) or _given(optimizer, others) or _cut(backward, mine[0])
        yield Finding(
            f"{optimizer.kind} made {optimizer.steps} steps, and no backward has reached any of its {optimizer.parameters} "
            f"parameters, those of {mine[0].kind}: the loss before each step reaches {others[0].kind} only.",
            site or backward,
            "give the other model the outputs themselves, without detach() or no_grad(), in this step",
            {"steps": optimizer.steps, "parameters": optimizer.parameters, "reached": 0},
            related=[one for one in (backward,) if one and one != site],
        )


def judges(record: Record, model: ModelFacts, generator: ModelFacts, optimizer: OptimizerFacts) -> bool:
    """Whether a model is trained in a step of its own, and asked more often than the other makes something: on real data too."""
    owners = [one for one in record.optimizers if one.number in model.owned_by and one is not optimizer]
    if not any(call.trained for call in model.calls) or not any(by_itself(one) for one in owners):
        return False
    asked = sum(call.trained for call in model.calls)
    return asked > sum(call.times for call in generator.calls if call.training)


def by_itself(optimizer: OptimizerFacts) -> bool:
    """Whether a backward comes between the steps of other optimizers and its own."""
    windows = optimizer.windows[1:]
    alone = 0
    for window in windows:
        kinds = [event.kind for event in window.events[:-1] if event.kind in ("backward", "step")]
        alone += kinds[-1:] == ["backward"]
    return len(windows) >= 2 and alone >= 0.8 * len(windows)


def _backward(optimizer: OptimizerFacts) -> Site | None:
    """Return the line of the backward that comes right before its steps."""
    for window in optimizer.windows[1:] + optimizer.windows[:1]:
        before = [event.site for event in window.events if event.kind == "backward"]
        if before:
            return before[-1]
    return None


def _made(generator: ModelFacts) -> Site | None:
    """Return the line that cuts what it makes right where it is made."""
    for call in (one for one in generator.calls if one.training and one.site is not None):
        around = source.without_gradients_around(call.site) if call.site is not None and not call.gradients else None
        statement = sites.statement(call.site)
        if around is not None:
            return around
        if call.site is not None and isinstance(statement, ast.Assign) and set(source.cuts_in(statement)) & CUTS:
            return Site(call.site.file, statement.lineno)
    return None


def _given(optimizer: OptimizerFacts, others: list[ModelFacts]) -> Site | None:
    """Return the line that cuts what it gives to the other model, ahead of the optimizer's first step."""
    for call in (call for model in others for call in model.calls if call.stepped_first == optimizer.first_step + 1):
        for site in call.stack:
            statement = sites.statement(site)
            if statement is not None and set(source.cuts_in(statement)) & CUTS:
                return Site(site.file, statement.lineno)
    return None


def _cut(backward: Site | None, generator: ModelFacts) -> Site | None:
    """Return the line before the backward that cuts the graph."""
    around = sites.function(backward)
    if around is None or backward is None:
        return None
    cuts: list[int] = []
    for node in ast.walk(around):
        if isinstance(node, ast.Attribute) and node.attr in ("detach", "detach_", "data"):
            cuts.append(node.end_lineno or node.lineno)
        if isinstance(node, ast.With) and any("no_grad" in ast.unparse(item) for item in node.items):
            calls = [call.site for call in generator.calls if call.site]
            if any(call.file == backward.file and node.lineno <= call.line <= (node.end_lineno or 0) for call in calls):
                cuts.append(node.lineno)
    before = [line for line in cuts if line <= backward.line]
    if before:
        return Site(backward.file, max(before))
    return Site(backward.file, max(cuts)) if cuts else None
