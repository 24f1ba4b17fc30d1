"""A learning rate schedule that counts in epochs is stepped after every batch.

The rate falls as many times too fast as an epoch has batches: it is next to nothing after the first epochs, and the rest
of the run trains with it and changes nothing; a cosine goes down and up again many times. The loss stops falling early,
and a larger model or more epochs do not help.

Bad::

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    for epoch in range(5):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            scheduler.step()  # <- here

Good::

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    for epoch in range(5):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()

Not a mistake: schedules that are made for steps, such as `OneCycleLR` or a cosine over all batches, which end near zero;
a full-batch run, where an epoch is a step; a search for the learning rate.

Source: https://github.com/ivadomed/ivadomed/issues/55
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.reading import identifiers, loops, outermost_calls, words
from truestep.doctor.record import Record, ScheduleFacts, Site

SEVERITY = "error"
VANISHED = 1e-3  # of the largest rate
STEPWISE = ("OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts", "ReduceLROnPlateau", "LinearLR", "ConstantLR")
EPOCHS = {"epoch", "epochs"}
BATCHES = {"batch", "batches", "step", "steps", "iter", "iters", "iterations", "updates", "len", "loader", "total"}


def look(record: Record) -> Iterator[Finding]:
    for schedule in record.schedules:
        rates = schedule.rates
        if (
            schedule.kind in STEPWISE
            or schedule.steps < 10
            or schedule.steps != len(rates)
            or not _after_each_batch(schedule)
        ):
            continue
        epochs = _epochs(record, schedule)
        if epochs is None or epochs < 2 or (schedule.unit or 1) > epochs:
            continue  # made for more steps than there are epochs
        largest = max(rates)
        low = sum(rate < VANISHED * largest for rate in rates) / len(rates)
        turns = sum(a < b for a, b in pairwise(rates))
        in_epochs = _says_epochs(schedule.site)
        back = schedule.kind == "CosineAnnealingLR" and schedule.steps >= 3 * (schedule.unit or 1) and turns >= 3
        early = _all_done_early(schedule) and (schedule.unit or 0) >= 0.3 * epochs
        steep = _falls_within_each_epoch(schedule, epochs)
        if not (low > 0.4 or steep or early or ((in_epochs or schedule.unit == epochs) and back)):
            continue
        first = next((place for place, rate in enumerate(rates, 1) if rate < VANISHED * largest), 0)
        what = (
            f"the learning rate was below a thousandth of {largest:.3g} after {first} of them"
            if low > 0.4
            else f"the learning rate went up again in {turns} of them"
            if back
            else f"its last change came after {_changes(rates)[-1]} of them"
            if early
            else f"the learning rate fell from {largest:.3g} to {rates[-1]:.3g}, several times within each epoch"
        )
        made = f", though it was made for {schedule.unit}" if schedule.unit else ""
        yield Finding(
            f"{schedule.kind} was stepped {schedule.steps} times in {epochs} epochs, after every batch{made}: {what}.",
            schedule.step_sites.most_common(1)[0][0],
            "step the schedule once an epoch, after the loop over batches; or make it for the number of all batches",
            {"steps": schedule.steps, "epochs": epochs, "made for": schedule.unit, "rate at the end": rates[-1]},
            related=[site for site in (schedule.site,) if site],
        )


def _after_each_batch(schedule: ScheduleFacts) -> bool:
    """Whether it steps with each step of its optimizer, or each few of them that accumulate."""
    return schedule.optimizer_steps_between[1] >= 0.8 * schedule.steps


def _epochs(record: Record, schedule: ScheduleFacts) -> int | None:
    """Return how many epochs its steps lie in, if there are several in each."""
    passes = [one.schedules[schedule.number] for loader in record.loaders for one in loader.passes if one.backwards]
    inside = [count for count in passes if count]
    if sum(inside) >= 0.8 * schedule.steps:
        return len(inside) if sum(inside) >= 3 * len(inside) else None
    if any(passes):
        return None
    return _epochs_in_code(schedule)


def _epochs_in_code(schedule: ScheduleFacts) -> int | None:
    """Return the number of epochs of a run without loaders: a loop whose name says epoch around one over batches."""
    around = [loop for site in schedule.step_stack for loop in loops(site) if isinstance(loop, ast.For)]
    over = [one for site in schedule.step_stack for one in _comprehensions(site)]
    if over and around and not any(words(identifiers(one.target)) & EPOCHS for one in over):
        around = [around[0], *around]  # batches are gone over in a comprehension
    elif len(around) < 2 or words(identifiers(around[0].target)) & EPOCHS:
        return None
    outer = next((loop for loop in around[1:] if words(identifiers(loop.target)) & EPOCHS), None)
    if outer is None:
        return None
    if _says_epochs(schedule.site):
        return schedule.unit
    return next((turns for one in schedule.step_stack if (turns := _turns(outer, one)) is not None), None)


def _comprehensions(site: Site) -> list[ast.comprehension]:
    """Return what the comprehensions in the statement at a line go over."""
    statement = sites.statement(site)
    if not isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.Return):
        return []
    return [
        one
        for node in ast.walk(statement)
        if isinstance(node, ast.ListComp | ast.GeneratorExp) and isinstance(node.elt, ast.Call)
        for one in node.generators
    ]


def _turns(loop: ast.For, site: Site) -> int | None:
    """Return how often a loop over a range goes round, if its end is a number, or a name that stands for one number."""
    if not isinstance(loop.iter, ast.Call) or ast.unparse(loop.iter.func) != "range" or len(loop.iter.args) != 1:
        return None
    end, module = loop.iter.args[0], sites.tree(site.file)
    values = {end.value} if isinstance(end, ast.Constant) else set[object]()
    if isinstance(end, ast.Name) and module is not None:
        values = {
            node.value.value if isinstance(node.value, ast.Constant) else None
            for node in ast.walk(module)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id == end.id
        }
    if isinstance(end, ast.Attribute) and module is not None:
        values = set(_kept_as(end.attr, module))
    value = values.pop() if len(values) == 1 else None
    return value if isinstance(value, int) else None


def _kept_as(attribute: str, module: ast.Module) -> Iterator[object]:
    """Yield what a file gives to an attribute of this name: in a class, to an object or as an argument."""
    for node in ast.walk(module):
        value = None
        if isinstance(node, ast.keyword) and node.arg == attribute:
            value = node.value
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(identifiers(target).split()[:1] == [attribute] or _is(target, attribute) for target in targets):
                value = node.value
        elif isinstance(node, ast.Call) and any(
            isinstance(one, ast.Constant) and str(one.value).lstrip("-") == attribute for one in node.args[:1]
        ):
            yield None  # an argument of the command line
        if value is not None:
            yield value.value if isinstance(value, ast.Constant) else None


def _is(target: ast.expr, attribute: str) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == attribute


def _says_epochs(site: Site | None) -> bool:
    """Whether the schedule's arguments name epochs, and nothing that counts batches."""
    statement = sites.statement(site)
    if statement is None:
        return False
    said = {
        word
        for call in outermost_calls(statement)
        for argument in (*call.args[1:], *(one.value for one in call.keywords))
        for word in words(identifiers(argument))
    }
    return bool(said & EPOCHS) and not said & BATCHES


def _changes(rates: list[float]) -> list[int]:
    return [place for place, (a, b) in enumerate(pairwise(rates), 2) if a != b] or [1]


def _all_done_early(schedule: ScheduleFacts) -> bool:
    """Whether milestones that are fewer than the epochs were all passed in the first tenth of the run."""
    return (
        schedule.kind == "MultiStepLR" and schedule.steps >= 30 and _changes(schedule.rates)[-1] <= 0.1 * schedule.steps
    )


def _falls_within_each_epoch(schedule: ScheduleFacts, epochs: int) -> bool:
    """Whether large falls, such as are made for epochs, come several times within each."""
    rates = schedule.rates
    falls = [b / a for a, b in pairwise(rates) if 0 < b < a]
    if not falls or len(falls) < 2 * epochs or epochs < 3:
        return False
    if schedule.kind == "StepLR":
        return max(falls) <= 0.7 and rates[-1] < 0.01 * max(rates)
    return schedule.kind == "ExponentialLR" and max(falls) <= 0.9 + 1e-6 and rates[-1] < 0.01 * max(rates)
