"""A learning rate schedule changes the rate of an optimizer that is not the one in use.

The schedule steps, its own numbers go down as planned, and the optimizer that trains keeps its first rate to the end.
It comes from an optimizer that is made anew after the schedule, or from two optimizers that were mixed up.

Bad::

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)  # <- here
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(4):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()

Good::

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    for epoch in range(4):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()

Not a mistake: drawing a schedule before training; an optimizer that pauses while others train, now and then; two
schedules of one optimizer that follow each other.

Source: https://github.com/LINCellularNeuroscience/VAME/issues/26
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.record import Record, ScheduleFacts, Site

SEVERITY = "error"
FIX = "make the schedule after the optimizer, and give it the one whose step() is called"


def look(record: Record) -> Iterator[Finding]:
    for schedule in record.schedules:
        if schedule.optimizer < 0 or schedule.steps < 2:
            continue
        optimizer = record.optimizers[schedule.optimizer]
        others = [one for one in record.optimizers if one is not optimizer and one.steps >= 3]
        if others and schedule.idle >= max(2, 0.8 * schedule.steps):
            when = "never steps" if optimizer.steps == 0 else f"made {optimizer.steps} steps, none of them meanwhile"
            yield Finding(
                f"{schedule.kind} was stepped {schedule.steps} times for an optimizer that {when}; another "
                f"{others[0].kind} made {max(one.steps for one in others)} steps.",
                schedule.site,
                FIX,
                {"schedule steps": schedule.steps, "steps of its optimizer": optimizer.steps},
                related=[one.site for one in others if one.site],
            )
    yield from _twice_for_one(record)


def _twice_for_one(record: Record) -> Iterator[Finding]:
    """Two optimizers step alike, and two schedules alike in all but name drive one of them."""
    for place, second in enumerate(record.schedules):
        for first in record.schedules[:place]:
            if first.optimizer != second.optimizer or not (first.steps == second.steps >= 2) or first.optimizer < 0:
                continue
            mine = record.optimizers[first.optimizer]
            driven = {one.optimizer for one in record.schedules}
            without = [
                one
                for one in record.optimizers
                if one.number not in driven and one.steps >= 3 and one.steps >= 0.3 * mine.steps
            ]
            if without and _arguments(first) is not None and _arguments(first) == _arguments(second):
                yield Finding(
                    f"This {second.kind} and the one before drive the same {mine.kind}, {second.steps} steps each, and a "
                    f"{without[0].kind} of {without[0].steps} steps has none.",
                    second.site,
                    FIX,
                    {"schedules of one optimizer": 2, "schedule steps": second.steps},
                    related=[site for site in (first.site, without[0].site) if site],
                )


def _arguments(schedule: ScheduleFacts) -> str | None:
    call = _call(schedule.site, schedule.kind)
    return ast.dump(call) if call is not None else None


def _call(site: Site | None, kind: str) -> ast.Call | None:
    statement = sites.statement(site)
    for node in ast.walk(statement) if statement is not None else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(kind):
            return node
    return None
