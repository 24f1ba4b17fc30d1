"""The evaluation takes training steps.

A `backward` and a `step` in the loop over the validation or test data make the model learn it: the score is the
training score of that data and says nothing about new data.

Bad::

    for epoch in range(3):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        for inputs, targets in held_out:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()  # <- here
            optimizer.step()

Good::

    for epoch in range(3):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for inputs, targets in held_out:
                loss = F.cross_entropy(model(inputs), targets)

Not a mistake: a second stage of training in evaluation mode, attacks that only take gradients, a last fit on all data.

Source: https://github.com/SKrisanski/FSCT/issues/12
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.reading import assigned_name
from truestep.doctor.record import CallFacts, Record, Site

SEVERITY = "error"
HIDES = ["not-shuffled-and-sorted"]


HELD_OUT = re.compile(
    r"(^|_)(val|valid|validation|test|dev|eval|held_?out|holdout)(_|$|loader|dl|set|data)", re.IGNORECASE
)


def look(record: Record) -> Iterator[Finding]:
    for model in record.models:
        lively = [call for call in model.calls if call.stepped and call.training]
        still = [call for call in model.calls if call.stepped and not call.training]
        steps = sum(call.stepped for call in still)
        after = sum(call.stepped_after_evaluation for call in still)
        enough = bool(lively and model.eval_sites) and steps >= 3 and after <= 0.2 * steps
        turns = enough and min(c.stepped_first for c in lively) < min(c.stepped_first for c in still)
        back = enough and max(c.last_step for c in lively) > min(c.stepped_first for c in still)
        apart = {(c.site, *c.passes) for c in lively}.isdisjoint({(c.site, *c.passes) for c in still})
        if turns and back and apart:
            yield Finding(
                f"{steps} optimizer steps were taken in evaluation mode, in turns with training: an evaluation that learns.",
                _backward(record, still),
                "leave backward() and step() out of the evaluation, and put it under torch.no_grad()",
                {"steps in evaluation mode": steps, "steps in training mode": sum(c.stepped for c in lively)},
            )
            return
        mixed = [call for call in model.calls if not call.training and call.mixed_in >= 2 and not call.stepped]
        mixed = [call for call in mixed if call.trained >= 2 * call.mixed_in]
        times, learnt = max((call.mixed_in for call in mixed), default=0), sum(call.trained for call in mixed)
        if mixed and lively and model.eval_sites and 4 * times < sum(call.stepped for call in lively):
            yield Finding(
                f"{learnt} backward passes in evaluation mode left gradients, and the next of {times} training steps applied "
                "them: an evaluation that learns.",
                _backward(record, mixed),
                "leave backward() out of the evaluation, and put it under torch.no_grad()",
                {"backward passes in evaluation mode": learnt, "steps with their gradients": times},
            )
            return
    for loader in record.loaders:
        name = assigned_name(loader.site)
        calls = [
            call for model in record.models for call in model.calls if call.stepped and loader.number in call.passes
        ]
        scored = [one for one in loader.passes if one.complete and not one.steps and not one.backwards]
        if name and HELD_OUT.search(name) and "train" not in name.lower() and calls and scored and loader.trained:
            yield Finding(
                f"{sum(one.steps for one in loader.passes)} optimizer steps were taken on batches of '{name}', which is also "
                f"what {len(scored)} evaluations ran on.",
                _backward(record, calls),
                "train on the training data's loader",
                {"loader": name, "steps": sum(one.steps for one in loader.passes), "evaluations": len(scored)},
                "warning",
            )
            return


def _backward(record: Record, calls: list[CallFacts]) -> Site | None:
    numbers = [number for call in calls for number, _ in call.losses.most_common(1)]
    return next((loss.site for loss in record.losses if loss.number in numbers), None)
