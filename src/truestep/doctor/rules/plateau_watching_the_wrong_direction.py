"""A schedule that waits for a plateau takes a number for better when it is worse.

`ReduceLROnPlateau` expects a loss unless told otherwise: `mode="min"`. Given an accuracy, it sees no progress while the
accuracy rises, and lowers the rate again and again while the model learns well; `mode="max"` with a loss does the same.

Bad::

    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)  # <- here
    for epoch in range(12):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        accuracy = 0.5 + 0.03 * epoch  # of an evaluation
        scheduler.step(accuracy)

Good::

    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=1)
    for epoch in range(12):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        accuracy = 0.5 + 0.03 * epoch  # of an evaluation
        scheduler.step(accuracy)

Not a mistake: the negative of an accuracy, or what is missing to 1, with `mode="min"`; a loss that rises.

Source: https://github.com/pnnl/vimss_gnina_torch/issues/57
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from truestep.doctor import sites
from truestep.doctor.findings import Finding
from truestep.doctor.reading import identifiers, words
from truestep.doctor.record import Record, Site

SEVERITY = "error"
HIGHER = {
    "acc",
    "accuracy",
    "auc",
    "auroc",
    "f",
    "precision",
    "recall",
    "iou",
    "dice",
    "correct",
    "bleu",
    "psnr",
    "ssim",
    "reward",
    "return",
}
LOWER = {"loss", "losses", "err", "error", "mse", "mae", "rmse", "nll", "ppl", "perplexity", "wer", "cer"}
BETTER = {"min": "falls", "max": "rises"}


def look(record: Record) -> Iterator[Finding]:
    for schedule in record.schedules:
        if schedule.kind != "ReduceLROnPlateau" or len(schedule.values) < 3 or schedule.mode not in BETTER:
            continue
        name = _name(schedule.step_sites.most_common(1)[0][0])
        said = words(name)
        means = "max" if said & HIGHER and not said & LOWER else "min" if said & LOWER and not said & HIGHER else ""
        values = [value for _, value, _ in schedule.values]
        half = len(values) // 2
        early, late = sum(values[:half]) / half, sum(values[-half:]) / half
        improved = late > early if means == "max" else late < early
        if not means or means == schedule.mode or not improved or min(values) < 0:
            continue
        rates = [rate for _, _, rate in schedule.values]
        cuts = sum(b < a for a, b in pairwise(rates))
        if len(values) < 4 and not cuts:
            continue
        yield Finding(
            f"The schedule takes {name} for better when it {BETTER[schedule.mode]} (mode={schedule.mode!r}): it went from "
            f"{values[0]:.4g} to {values[-1]:.4g}, and the learning rate was lowered {cuts} times meanwhile.",
            schedule.site,
            f'ReduceLROnPlateau(optimizer, mode="{means}")',
            {"first": values[0], "last": values[-1], "times lowered": cuts},
            severity="error" if cuts else "warning",
        )


def _name(site: Site | None) -> str:
    """Return the name of what a schedule's step is given, if that is a plain name."""
    statement = sites.statement(site)
    for node in ast.walk(statement) if statement is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "step":
            given = [*node.args, *(one.value for one in node.keywords)]
            if given and not any(isinstance(part, ast.UnaryOp | ast.BinOp) for part in ast.walk(given[0])):
                return identifiers(given[0])
    return ""
