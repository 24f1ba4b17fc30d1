"""A learning rate schedule that was made for all batches is stepped once an epoch, or never.

It goes through a small part of its course only. A warm-up never ends, so that the whole run trains with a rate close to
nothing; a cosine stays at its top and never comes down. One that no line steps leaves the rate where it began.

Bad::

    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=6 * len(loader))
    for epoch in range(6):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()  # <- here

Good::

    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=6 * len(loader))
    for epoch in range(6):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            scheduler.step()

Not a mistake: a run that ends before its schedule does, because it was stopped early or goes on tomorrow; a schedule that
a line steps under a condition, or that was made beside another one of the same optimizer.

Source: https://github.com/huggingface/accelerate/issues/963
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.record import Record, ScheduleFacts, Site

SEVERITY = "error"
KINDS = ("OneCycleLR", "CosineAnnealingLR", "PolynomialLR", "LinearLR", "LambdaLR")


SCHEDULE = re.compile(r"sched|warm|plateau|anneal|decay|cosine|lr", re.IGNORECASE)


def look(record: Record) -> Iterator[Finding]:
    for schedule in record.schedules:
        if never_stepped(record, schedule):
            steps = record.optimizers[schedule.optimizer].steps
            yield Finding(
                f"{schedule.kind} was made and never stepped, in {steps} steps of its optimizer: the learning rate is not "
                "changed by it.",
                schedule.site,
                "scheduler.step()  # after each epoch, or after each optimizer.step(), as it is made for",
                {"optimizer steps": steps, "schedule steps": 0},
                "warning",
            )
        if schedule.kind not in KINDS or schedule.unit is None or schedule.optimizer < 0 or schedule.steps < 3:
            continue
        batches = record.optimizers[schedule.optimizer].steps
        between, times = schedule.optimizer_steps_between.most_common(1)[0]
        if between < 3 or times < 0.6 * schedule.steps or not record.finished:
            continue
        if 0.8 * batches <= schedule.unit <= 1.25 * batches and schedule.steps * 3 <= schedule.unit:
            yield Finding(
                f"{schedule.kind} was made for {schedule.unit} steps, as many as the optimizer's {batches}, and was stepped "
                f"{schedule.steps} times, once in {between} batches: it went through "
                f"{schedule.steps / schedule.unit:.0%} of its course.",
                schedule.step_sites.most_common(1)[0][0],
                "step the schedule after each optimizer.step(), in the loop over batches",
                {"made for": schedule.unit, "optimizer steps": batches, "schedule steps": schedule.steps},
                related=[site for site in (schedule.site,) if site],
            )


def never_stepped(record: Record, schedule: ScheduleFacts) -> bool:
    """Whether nothing steps a schedule, nor another one of its optimizer, and no line of its file could."""
    if schedule.steps or schedule.optimizer < 0 or not record.finished or schedule.site is None:
        return False
    if record.optimizers[schedule.optimizer].steps < 10:
        return False
    if any(one is not schedule and (one.optimizer == schedule.optimizer or one.steps) for one in record.schedules):
        return False
    steps = [site for site in record.optimizers[schedule.optimizer].step_sites if site is not None]
    if not steps or not all("step" in source.words_in(site) for site in steps):
        return False  # a library steps the optimizer, and would step the schedule
    return named(schedule.site) != "" and not any(stepping(site.file) for site in (schedule.site, *steps))


def named(site: Site) -> str:
    """Return the name that the schedule is given where it is made; one that is part of another has none."""
    statement = sites.statement(site)
    return next(iter(source.targets_of(statement)), "") if isinstance(statement, ast.Assign) else ""


def stepping(file: str) -> bool:
    """Whether a line of a file steps what is called like a schedule."""
    module = sites.tree(file)
    return module is None or any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("step", "step_update")
        and SCHEDULE.search(ast.unparse(node.func.value)) is not None
        for node in ast.walk(module)
    )
