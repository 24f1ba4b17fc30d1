"""The learning rate schedule is stepped before the optimizer, so that its first rate is never used.

Until PyTorch 1.1 this was the order. Since then the schedule sets its first rate when it is made, and a step ahead of the
optimizer's goes on to the second: each rate comes one epoch, or one batch, too early.

Bad::

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3)
    for epoch in range(4):
        scheduler.step()  # <- here
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

Good::

    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3)
    for epoch in range(4):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()

Not a mistake: a schedule that is drawn, or wound forward to where an earlier run ended, before training begins; a first
step that a gradient scaler leaves out.

Source: https://github.com/pytorch/pytorch/issues/20124
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for schedule in record.schedules:
        if (
            schedule.before_optimizer != 1
            or schedule.steps < 2
            or schedule.optimizer < 0
            or len(schedule.step_sites) != 1
        ):
            continue
        optimizer = record.optimizers[schedule.optimizer]
        between, times = schedule.optimizer_steps_between.most_common(1)[0]
        if optimizer.steps < 3 or optimizer.through_scaler or optimizer.without_gradients:
            continue
        if between >= 1 and times >= 0.6 * (schedule.steps - 1):
            yield Finding(
                f"{schedule.kind} was stepped before the first of {optimizer.steps} steps of {optimizer.kind}, and then "
                f"once in {between}: the rate that it was made with was never used.",
                schedule.step_sites.most_common(1)[0][0],
                "scheduler.step()  # after optimizer.step(), at the end of the epoch",
                {"schedule steps": schedule.steps, "optimizer steps": optimizer.steps},
                severity=SEVERITY,
            )
