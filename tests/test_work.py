"""What a step costs, counted in calls and operations: more of them would be slower, whatever a clock says on a busy machine.

A limit that is passed means that every step became longer. Look at what is new in the list below; take it out, do it once an
epoch, or do it for many steps together. If it is worth its price, raise the limit and say why in the commit.
"""

from __future__ import annotations

import io
import itertools
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import truestep as ts
from truestep import progress

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from counting import Calls, Operations

FIRST, STEPS = 5, 50  # not counted, then counted: with one line of the log
BATCH, CLASSES = 32, 3
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(2_000, 20, generator=GENERATOR), torch.randint(0, CLASSES, (2_000,), generator=GENERATOR)
PYTORCH = torch.__version__.startswith("2.13.")  # others call other functions of their own
OWN = str(Path(ts.__file__).parent)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fitted(counter, folder, patch, *, schedule=False, **options):
    """Count steps of `fit` with all that it does by default, and what the options add."""
    model = network()
    optimizer = ts.build_optimizer("adamw", model, lr=1e-3, weight_decay=0.01)
    if schedule:
        options["scheduler"] = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1_000)
    updates = itertools.count(1)

    def stop():
        update = next(updates)
        if update == FIRST:
            counter.begin()
        elif update == FIRST + STEPS:
            counter.end()

    patch.setattr(sys, "stderr", Terminal())
    patch.setattr(progress, "REDRAW_SECONDS", math.inf)  # else the clock decides how often the bar is drawn
    ts.fit(
        model, ts.Batches((X, Y), BATCH, shuffle=True), (X[:64], Y[:64]), ts.Multiclass(CLASSES), optimizer,
        epochs=1, max_steps=FIRST + STEPS + 1, folder=folder, stop=stop, save_seconds=math.inf, **options,
    )  # fmt: skip


def watched(batches, counter):
    for number, batch in enumerate(batches):
        if number == FIRST:
            counter.begin()
        elif number == FIRST + STEPS:
            counter.end()
        yield batch


def by_hand(counter):
    """Count steps of the loop of the tutorials."""
    model = network()
    optimizer, criterion = torch.optim.AdamW(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    loss_sum, right = 0.0, 0
    for inputs, targets in watched(DataLoader(TensorDataset(X, Y), BATCH, shuffle=True), counter):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(targets)
        right += (outputs.argmax(1) == targets).sum().item()


def evaluated(counter):
    ts.evaluate(network(), watched(ts.Batches((X, Y), BATCH), counter), ts.Multiclass(CLASSES))


def evaluated_by_hand(counter):
    model = network().eval()
    loss_sum, right = 0.0, 0
    with torch.no_grad():
        for inputs, targets in watched(DataLoader(TensorDataset(X, Y), BATCH), counter):
            outputs = model(inputs)
            loss_sum += F.cross_entropy(outputs, targets).item() * len(targets)
            right += (outputs.argmax(1) == targets).sum().item()


def counted(run):
    """Return calls of our own functions, of all Python functions, and operations, each for one step; and a list of them."""
    calls, operations = Calls(), Operations()
    run(calls)
    run(operations)
    lines = [f"{n / STEPS:6.2f} {Path(file).name} {name}" for (file, name), n in calls.found.most_common(40)]
    lines += [f"{n / STEPS:6.2f} {name}" for name, n in operations.found.most_common(40)]
    totals = [total / STEPS for total in (calls.total(OWN), calls.total(), operations.total())]
    return totals, "\n".join(lines)


def check(found, limits, listed):
    for what, count, limit in zip(("calls of our own", "calls of Python", "operations"), found, limits, strict=True):
        if what != "calls of our own" and not PYTORCH:
            continue
        advice = __doc__.partition("\n\n")[2]
        assert count <= limit, f"{count:g} {what} a step, where at most {limit} are allowed.\n{advice}\n{listed}"
        assert count > 0.8 * limit, f"{count:g} {what} a step: lower the limit of {limit}, so that it stays so."


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (55, 157, 67)),
        ({"max_grad_norm": 1.0}, (58, 170, 72)),
        ({"max_grad_norm": 1.0, "ema_decay": 0.99, "schedule": True}, (59, 211, 76)),
    ],
    ids=["all by default", "and clipping", "and an average and a schedule"],
)
def test_a_step_of_fit_takes_no_more_than_it_did(tmp_path, monkeypatch, options, limits):
    folders = map(str, itertools.count())
    found, listed = counted(lambda counter: fitted(counter, tmp_path / next(folders), monkeypatch, **options))
    check(found, limits, listed)


def test_a_batch_of_evaluation_takes_no_more_than_it_did():
    found, listed = counted(evaluated)
    check(found, (10, 47, 15), listed)


def test_a_step_takes_less_than_one_by_hand(tmp_path, monkeypatch):
    """With the loop of the tutorials for a measure: its loader and its optimizer count, as ours do."""
    folders = map(str, itertools.count())
    (_, calls, operations), _ = counted(lambda counter: fitted(counter, tmp_path / next(folders), monkeypatch))
    (_, theirs, theirs_operations), _ = counted(by_hand)
    assert calls < theirs
    assert operations < theirs_operations

    (_, calls, operations), _ = counted(evaluated)
    (_, theirs, theirs_operations), _ = counted(evaluated_by_hand)
    assert calls < theirs
    assert operations < theirs_operations


def test_the_counters_count():
    def run(counter):
        counter.begin()
        for _ in range(STEPS):
            F.relu(X)
        counter.end()

    (own, calls, operations), listed = counted(run)
    assert (own, operations) == (0, 1)
    assert calls >= 1
    assert "aten.relu" in listed
