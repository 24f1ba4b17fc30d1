"""A learning rate schedule that was made for all batches is stepped once an epoch.

It goes through a small part of its course only. A warm-up never ends, so that the whole run trains with a rate close to
nothing; a cosine stays at its top and never comes down.

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

Not a mistake: a run that ends before its schedule does, because it was stopped early or goes on tomorrow.

Source: https://github.com/huggingface/accelerate/issues/963
"""

from __future__ import annotations

from collections.abc import Iterator

from truestep.doctor.findings import Finding
from truestep.doctor.record import Record

SEVERITY = "error"
KINDS = ("OneCycleLR", "CosineAnnealingLR", "PolynomialLR", "LinearLR", "LambdaLR")


def look(record: Record) -> Iterator[Finding]:
    for schedule in record.schedules:
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
