"""Inputs are standardised by statistics that were taken from the evaluation data, too.

A scaler that is fitted before the split knows the mean and range of examples that it should not have seen. The evaluation
then looks better than it is for new data: by little where both halves are alike, by much for small data, outliers and
time series, whose future it gives away.

Bad::

    table = 5 * torch.randn(120, 8) + 3
    table = (table - table.mean(0)) / table.std(0)  # <- here
    train_table, test_table = table[:90], table[90:]
    for epoch in range(2):
        for inputs, targets in DataLoader(TensorDataset(train_table, torch.arange(90) % 3), 18, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = (model(test_table).argmax(1) == torch.arange(90, 120) % 3).sum()

Good::

    table = 5 * torch.randn(120, 8) + 3
    train_table, test_table = table[:90], table[90:]
    mean, std = train_table.mean(0), train_table.std(0)
    train_table, test_table = (train_table - mean) / std, (test_table - mean) / std
    for epoch in range(2):
        for inputs, targets in DataLoader(TensorDataset(train_table, torch.arange(90) % 3), 18, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = (model(test_table).argmax(1) == torch.arange(90, 120) % 3).sum()

Not a mistake: constants that are known beforehand, such as those of ImageNet, or 255.

Source: https://github.com/huseinzol05/Stock-Prediction-Models/issues/126
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from truestep.doctor import sites, source
from truestep.doctor.findings import Finding
from truestep.doctor.reading import identifiers, words
from truestep.doctor.record import Record, Site

SEVERITY = "warning"


def look(record: Record) -> Iterator[Finding]:
    for table in record.tables:
        for what, (trained, together) in (
            ("mean 0 and deviation 1", table.centred),
            ("a range of 0 to 1", table.ranged),
        ):
            if together >= (1 if table.series else max(2, 0.7 * table.columns)) and trained <= 0.5 * together:
                site = next((call.site for call in record.models[table.model].calls if call.site), None)
                line = _fit(site)
                if table.series and line is None:
                    continue  # one series may be a share of something, which nobody fitted
                yield Finding(
                    f"{together} of {table.columns} columns have {what} over the {table.trained} rows trained on and the "
                    f"{table.evaluated} others together, and {trained} over those trained on: they were fitted to all.",
                    line or site,
                    "split first; take the statistics from the training rows, and use them for all",
                    {"trained on": table.trained, "evaluated": table.evaluated, "columns": together},
                    severity=SEVERITY,
                )
                break


def _fit(site: Site | None) -> Site | None:
    """Return the line that takes statistics, if the file of the model's call has one."""
    module = sites.tree(site.file) if site else None
    if module is None or site is None:
        return None
    found: dict[int, list[int]] = {0: [], 1: [], 2: [], 3: []}
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = words(" ".join(identifiers(part) for part in node.args))
            if node.func.attr in ("fit_transform", "fit") and node.args and "train" not in given:
                scaler = bool(
                    words(identifiers(node.func.value))
                    & {"scaler", "standard", "sc", "ss", "norm", "min", "max", "minmax"}
                )
                found[0 if scaler or node.func.attr == "fit_transform" else 1].append(node.lineno)
            zeros = [part for part in (*node.args, *(one.value for one in node.keywords)) if ast.unparse(part) == "0"]
            if (
                node.func.attr in ("mean", "std", "min", "max")
                and zeros
                and "train" not in words(identifiers(node.func.value))
            ):
                found[2].append(node.lineno)
            of = node.args[0] if source.name_of(node.func.value) in ("np", "torch") and node.args else node.func.value
            plain = (
                len(node.args) <= 1
                and isinstance(of, ast.Name | ast.Attribute)
                and "train" not in words(identifiers(of))
            )
            if node.func.attr in ("min", "max") and plain and not node.keywords:  # of one series as a whole
                found[3].append(node.lineno)
    lines = next((sorted(lines) for lines in found.values() if lines), [])
    return Site(site.file, lines[0]) if lines else None
