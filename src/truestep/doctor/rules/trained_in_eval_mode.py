"""Training goes on in evaluation mode after the first evaluation.

An evaluation called `model.eval()` and nothing called `model.train()` after it: from then on dropout is off and batch
norm stands still. The training loss drops all at once, and the model overfits or learns worse than its settings say.

Bad::

    for epoch in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)  # <- here
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)

Good::

    for epoch in range(3):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(inputs).argmax(1) == targets).sum() for inputs, targets in held_out)

Not a mistake: fine-tuning loaded weights in evaluation mode from the start, batch norm set to evaluation mode inside of a model that
trains, and attacks whose gradients no optimizer uses.

Source: https://github.com/wkentaro/pytorch-fcn/issues/57
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.record import CallFacts, ModelFacts, Record

SEVERITY = "error"


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        learning = [call for call in model.calls if call.stepped]
        lively = [call for call in learning if call.training]
        still = [call for call in learning if not call.training]
        if not (model.restless and still):
            continue
        if not lively:
            if finding := from_the_start(record, model, still):
                yield finding
            continue
        steps = sum(call.stepped for call in still)
        after = sum(call.stepped_after_evaluation for call in still)
        first = min(call.stepped_first for call in still)
        if after < 3 or after < 0.8 * steps:
            continue
        if first < min(call.stepped_first for call in lively) and not in_turns(lively, still):
            continue
        call = max(still, key=lambda one: one.stepped)
        yield Finding(
            f"{steps} of {steps + sum(one.stepped for one in lively)} optimizer steps, from step {first} on, were made with "
            f"the model in evaluation mode, which an evaluation had left on.",
            call.site,
            "model.train()  # before each epoch of training, and after each evaluation within one",
            {
                "steps in evaluation mode": steps,
                "first of them": first,
                "dropout and batch norm parts": len(model.restless),
            },
        )


def from_the_start(record: Record, model: ModelFacts, still: list[CallFacts]) -> Finding | None:
    """Judge a model that never trained in training mode, though its weights come from nowhere else and all of it learns."""
    steps = sum(call.stepped for call in still)
    own = [p for p in record.parameters if p.model == model.number]
    if steps < 10 or model.pretrained or any(p.loaded or p.foreign or p.frozen for p in own):
        return None
    if sum(call.stepped_after_evaluation for call in still) < 0.8 * steps or not apart(model, still):
        return None
    call = max(still, key=lambda one: one.stepped)
    return Finding(
        f"All {steps} optimizer steps were made with the model in evaluation mode, which an evaluation ahead of training had "
        "left on.",
        call.site,
        "model.train()  # before each epoch of training, and after each evaluation within one",
        {"steps in evaluation mode": steps, "dropout and batch norm parts": len(model.restless)},
        "warning",
    )


def apart(model: ModelFacts, still: list[CallFacts]) -> bool:
    """Whether evaluation mode is only ever set in functions, in none of which the model is trained."""
    training = {id(sites.function(site)) for call in still for site in call.stack}
    setting = [sites.function(site) for site in model.eval_sites if site is not None]
    return bool(setting) and not any(
        function is None or isinstance(function, ast.Module) or id(function) in training for function in setting
    )


def in_turns(lively: list[CallFacts], still: list[CallFacts]) -> bool:
    """Whether one line was learnt from in evaluation mode, then in training mode, and then in evaluation mode again."""
    for site in {call.site for call in lively} & {call.site for call in still}:
        began = min(call.stepped_first for call in lively if call.site == site)
        if sum(call.last_step > began for call in still if call.site == site):
            return True
    return False
