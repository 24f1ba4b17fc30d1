"""The accuracy of an epoch of training is that of the very outputs that were learnt from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import truestep as ts
from truestep import hits

N, BATCH = 45, 8


def problem(task, generator=None):
    generator = generator or torch.Generator().manual_seed(0)
    x = torch.randn(N, 5, generator=generator)
    match task:
        case "multiclass":
            return x, torch.randint(0, 4, (N,), generator=generator), ts.Multiclass(4), 4
        case "binary":
            return x, torch.randint(0, 2, (N,), generator=generator), ts.Binary(), 1
        case "floats":
            return x, torch.randint(0, 2, (N, 1), generator=generator).float(), ts.Binary(), 1
        case "multilabel":
            return x, torch.randint(0, 2, (N, 3), generator=generator), ts.Multilabel(3), 3
    raise ValueError(task)


def network(outputs):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, outputs))


class Recorded(nn.Module):
    """Keeps what it says while training, as a hook would."""

    def __init__(self, inside):
        super().__init__()
        self.inside, self.said = inside, []

    def forward(self, x):
        outputs = self.inside(x)
        if self.training:
            self.said.append(outputs.detach().clone())
        return outputs


@pytest.mark.parametrize("task", ["multiclass", "binary", "floats", "multilabel"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("chunk", [1, 60, 1 << 18])
def test_it_is_the_share_of_right_answers(monkeypatch, task, accumulate, chunk):
    monkeypatch.setattr(hits, "CHUNK", chunk)
    x, y, objective, outputs = problem(task)
    model = Recorded(network(outputs))
    train = ts.Batches((x, y), BATCH, shuffle=True, seed=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = ts.fit(model, train, None, objective, optimizer, epochs=2, accumulate=accumulate, show=False).history

    for epoch, row in enumerate(history):
        said = torch.cat(model.said[epoch * len(train) : (epoch + 1) * len(train)])
        targets = y[train.order(epoch)]
        right = (said.argmax(1) == targets) if task == "multiclass" else ((said > 0).reshape(targets.shape) == targets)
        assert row["train_accuracy"] == right.double().mean().item()


def test_what_was_left_out_does_not_count():
    x, y, objective, outputs = problem("multiclass")
    x[3, 0] = math.nan
    model = Recorded(network(outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = ts.fit(
        model, ts.Batches((x, y), BATCH), None, objective, optimizer, epochs=1, on_nonfinite="skip", show=False
    )

    assert found.progress.skipped == 1
    right = torch.cat(model.said[1:]).argmax(1) == y[BATCH:]
    assert found.history[0]["train_accuracy"] == right.double().mean().item()


@pytest.mark.parametrize("objective", [ts.Regression(), lambda model, batch: model(batch[0]).square().mean()])
def test_where_nothing_is_right_or_wrong_there_is_none(objective):
    x, model = torch.randn(N, 5), network(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = ts.fit(model, [(x, x[:, :1])], None, objective, optimizer, epochs=1, show=False)
    assert "train_accuracy" not in found.history[0]


def test_soft_targets_have_no_right_answer():
    x, y, objective, outputs = problem("multiclass")
    model = network(outputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    soft = nn.functional.one_hot(y, 4).float() * 0.5 + 0.125
    found = ts.fit(model, [(x[:20], soft[:20])], None, objective, optimizer, epochs=1, show=False)
    assert "train_accuracy" not in found.history[0]


def test_a_loop_of_ones_own_may_ask_for_outputs():
    x, y, objective, outputs = problem("multiclass")
    model = Recorded(network(outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = ts.Batches((x, y), BATCH)
    kept = [
        pair
        for step in ts.train_steps(model, batches, objective, optimizer, accumulate=2, keep_outputs=True)
        for pair in step.outputs
    ]
    assert torch.equal(torch.cat([said for said, _ in kept]), torch.cat(model.said))
    assert torch.equal(torch.cat([targets for _, targets in kept]), y)
    assert not any(said.requires_grad for said, _ in kept)
    assert all(not step.outputs for step in ts.train_steps(model, batches, objective, optimizer))
