"""A trace shows the numbers that plain PyTorch has, leaves everything as it was, and its checks tell right from wrong."""

from __future__ import annotations

import copy
import json
import math
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.nn.utils import parametrizations

import truestep as ts
from truestep.assembly import choose_objective
from truestep.cli import main
from truestep.data import load
from truestep.doctor import pages
from truestep.folder import read_metrics
from truestep.listing import cells
from truestep.models import CNN, MLP, Transformer
from truestep.nest import take
from truestep.recipe import Recipe
from truestep.tracing.broken import LESSONS, STEPS, TIMES, TOO_HIGH, teach
from truestep.tracing.checks import start
from truestep.tracing.guess import blind_guess, even_guess
from truestep.tracing.lines import Subject
from truestep.tracing.sources import teach_source, trace_source

ROOT = Path(__file__).parent.parent
CLASSES = ts.Multiclass(num_classes=4)


def classes_batch(count=24, features=6, seed=1):
    made = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, features, generator=made)
    return inputs, torch.arange(count) % 4


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make()


def small(*, dropout=0.0):
    return seeded(lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 4)))


def status(found):
    return {check.name: check.status for check in found.checks}


def wrong(found):
    return {check.name for check in found.checks if check.status == "wrong"}


def approx(value):
    return pytest.approx(value, rel=1e-5, abs=1e-9)


# The numbers


def test_each_line_has_the_numbers_of_a_plain_loop():
    model, (inputs, targets) = small(), classes_batch()
    model[0].bias.data[:3] = -50.0  # three units that are dead for sure
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)

    found = ts.trace(model, (inputs, targets), CLASSES, optimizer).content

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    hidden = model[0](inputs)
    active = hidden.relu()
    outputs = model[3](active)
    loss = F.cross_entropy(outputs, targets)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    optimizer.step()
    rows = {row["name"]: row for row in found["modules"]}
    for name, values in (("0", hidden), ("1", active), ("2", active), ("3", outputs), ("", outputs)):
        values = values.detach()
        assert rows[name]["shape"] == list(values.shape)
        assert rows[name]["mean"] == approx(float(values.mean()))
        assert rows[name]["std"] == approx(float(values.std(correction=0)))
        assert rows[name]["dead"] == approx(float((values == 0).all(0).double().mean()))
    assert rows["1"]["dead"] >= 3 / 16
    assert [rows[name]["parameters"] for name in ("0", "1", "3", "")] == [112, 0, 68, 0]
    assert found["loss"]["value"] == approx(float(loss.detach()))
    assert found["loss"]["count"] == 24
    assert found["loss"]["even"] == approx(math.log(4))
    assert found["loss"]["guess"] == approx(math.log(4))
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    assert found["gradients"]["norm"] == approx(float(norm))
    for row in found["parameters"]:
        name = row["name"]
        moved = model.get_parameter(name).detach() - before[name]
        assert row["weight_norm"] == approx(float(before[name].norm()))
        assert row["gradient_norm"] == approx(float(gradients[name].norm()))
        assert row["update_norm"] == approx(float(moved.norm()))
        assert row["update_ratio"] == approx(float(moved.norm() / before[name].norm()))
        assert row["moved"] == int((moved != 0).sum())
        assert row["gradient_zeros"] == approx(float((gradients[name] == 0).float().mean()))
    with torch.no_grad():
        assert found["step"]["loss_after"] == approx(float(F.cross_entropy(model(inputs), targets)))
    assert found["step"]["weights_moved"] == sum(row["moved"] for row in found["parameters"])
    assert found["inputs"][0]["mean"] == approx(float(inputs.mean()))
    assert found["inputs"][0]["min"] == approx(float(inputs.min()))
    assert (found["targets"][0]["min"], found["targets"][0]["max"]) == (0, 3)


class Own(nn.Module):
    """Batch norm, a function in place of a module, a module called twice, one never called, shared weights."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
        self.twice, self.never = nn.Linear(8, 8), nn.Linear(2, 2)
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.twice.weight
        self.scale = nn.Parameter(torch.ones(8))
        self.out = nn.Linear(8, 4)

    def forward(self, images):
        states = F.relu(self.norm(self.conv(images))).mean((2, 3)) * self.scale
        return self.out(self.tied(torch.tanh(self.twice(torch.relu(self.twice(states))))))


def test_channels_functions_repeated_unused_and_shared_parts_are_shown_as_they_are():
    model = seeded(Own)
    model.conv.bias.data[2] = 0.0
    model.norm.weight.data[2], model.norm.bias.data[2] = 0.0, -1.0  # a channel that relu makes dead
    images, targets = torch.randn(12, 1, 6, 6), torch.arange(12) % 4

    found = ts.trace(model, (images, targets), CLASSES)

    twin = copy.deepcopy(model).train()
    normed = twin.norm(twin.conv(images))
    active = normed.relu()
    states = active.mean((2, 3)) * twin.scale
    first = twin.twice(states)
    second = twin.twice(first.relu())
    rows = {row["name"]: row for row in found.content["modules"]}
    names = [row["name"] for row in found.content["modules"]]
    assert names == [
        *("conv", "norm", "relu()", "twice", "relu()", "tanh()", "tied", "out", "never", ""),
    ]
    assert rows["norm"]["mean"] == approx(float(normed.detach().mean()))
    dead = [row["dead"] for row in found.content["modules"] if row["name"] == "relu()"]
    assert dead[0] == approx(float((active == 0).all(3).all(2).all(0).double().mean()))
    assert dead[0] >= 1 / 8
    both = torch.cat([first, second]).detach()
    assert (rows["twice"]["calls"], rows["never"]["calls"], rows["never"]["shape"]) == (2, 0, None)
    assert rows["twice"]["mean"] == approx(float(both.mean()))
    assert rows["twice"]["std"] == approx(float(both.std(correction=0)))
    assert rows["tied"]["parameters"] == 8  # its bias: the weights are counted where they come first
    assert rows[""]["parameters"] == 8  # what belongs to no layer
    assert found.content["model"]["parameters"] == sum(p.numel() for p in model.parameters())
    tied = {row["name"]: row["also"] for row in found.content["parameters"]}
    assert tied["twice.weight"] == ["tied.weight"]
    assert "tied.weight" not in tied
    assert wrong(found) == {"gradients"}
    assert "never.weight, never.bias" in " ".join(str(found).split())
    assert "batch norm has it (norm)" in " ".join(str(found).split())
    assert found.content["written"]["buffers"] == ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]


def test_a_unit_is_dead_if_it_is_0_in_every_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.out = nn.ReLU(), nn.Linear(12, 4)

        def forward(self, inputs):
            return self.out(torch.cat([self.relu(inputs), self.relu(-inputs)], 1))

    inputs, targets = classes_batch()
    inputs = inputs.abs() * torch.tensor([1.0, 1, 1, -1, -1, 0])

    rows = {row["name"]: row for row in ts.trace(seeded(Twice), (inputs, targets), CLASSES).content["modules"]}

    assert rows["relu"]["dead"] == approx(1 / 6)


def test_the_units_of_series_are_their_channels_through_an_activation_too():
    model = seeded(lambda: nn.Sequential(nn.Conv1d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 4)))
    model[0].bias.data[1] = -50.0
    batch = torch.randn(12, 2, 8), torch.arange(12) % 4

    rows = {row["name"]: row for row in ts.trace(model, batch, CLASSES).content["modules"]}

    assert (rows["0"]["units"], rows["1"]["units"], rows["2"]["units"]) == (5, 5, 30)
    assert rows["1"]["dead"] == approx(1 / 5)
    assert rows["2"]["dead"] >= 6 / 30 - 1e-9


def test_dropout_masks_are_those_of_seed_0_before_and_after_the_step():
    model, (inputs, targets) = small(dropout=0.5), classes_batch()

    found = ts.trace(model, (inputs, targets), CLASSES, torch.optim.SGD(model.parameters(), lr=0.5)).content

    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    torch.manual_seed(0)
    loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    torch.manual_seed(0)
    assert found["loss"]["value"] == approx(float(loss.detach()))
    assert found["step"]["loss_after"] == approx(float(F.cross_entropy(model(inputs), targets).detach()))


def test_clipping_is_applied_and_said():
    model, batch = small(), classes_batch()
    found = ts.trace(model, batch, CLASSES, torch.optim.SGD(model.parameters(), lr=1.0), max_grad_norm=0.01).content

    assert found["gradients"]["clipped"]
    assert found["step"]["update_norm"] == pytest.approx(0.01, rel=1e-3)


def test_lbfgs_takes_its_step():
    model, batch = small(), classes_batch()
    found = ts.trace(model, batch, CLASSES, torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)).content

    twin = copy.deepcopy(model)
    optimizer = torch.optim.LBFGS(twin.parameters(), lr=0.1, max_iter=4)

    def again():
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(batch[0]), batch[1])
        loss.backward()
        return loss

    optimizer.step(again)
    with torch.no_grad():
        assert found["step"]["loss_after"] == approx(float(F.cross_entropy(twin(batch[0]), batch[1])))


def test_lower_precision_is_that_of_autocast():
    model, (inputs, targets) = small(), classes_batch()
    found = ts.trace(model, (inputs, targets), CLASSES, precision="bf16").content

    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        outputs = model(inputs)
    assert found["outputs"][0]["dtype"] == "bfloat16"
    assert found["loss"]["value"] == approx(float(F.cross_entropy(outputs.float(), targets)))


def least_constant(objective, targets, shape):
    """The least loss of one answer for all, found by gradient descent."""
    answer = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([answer], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def again():
        optimizer.zero_grad()
        outputs = answer.expand(len(targets), *shape)
        loss = objective.loss_sum(outputs, targets) / objective.count(targets)
        loss.backward()
        return loss

    optimizer.step(again)
    return float(again().detach())


TEN = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("objective", "targets", "shape"),
    [
        (ts.Multiclass(3), TEN, (3,)),
        (ts.Multiclass(3, class_weights=(0.5, 2.0, 3.0)), TEN, (3,)),
        (ts.Multiclass(3, label_smoothing=0.2), TEN, (3,)),
        (ts.Multiclass(3, class_weights=(0.5, 2.0, 3.0), label_smoothing=0.2), TEN, (3,)),
        (ts.Multiclass(3), torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]], dtype=torch.float64), (3,)),
        (ts.Binary(), (TEN > 0).long(), (1,)),
        (ts.Binary(positive_weight=3.0), (TEN > 1).long(), (1,)),
        (ts.Multilabel(2), torch.stack([TEN > 0, TEN > 1], 1).long(), (2,)),
        (ts.Regression(mean=(2.0,), std=(3.0,)), TEN.double() ** 3, (1,)),
        (ts.Regression("huber", mean=(2.0,), std=(1.5,)), TEN.double() ** 3, (1,)),
        (ts.Regression(mean=(2.0, 0.0), std=(3.0, 1.0)), torch.stack([TEN, TEN * 2], 1).double(), (2,)),
        (ts.NextToken(3), torch.tensor([[0, 0, 1, 2], [0, 1, -100, -100]]), (4, 3)),
    ],
)
def test_a_blind_guess_is_the_best_constant_answer(objective, targets, shape):
    if isinstance(objective, ts.NextToken):  # one answer for all places, too
        flat = targets[targets != -100]
        found = least_constant(ts.Multiclass(3), flat, (3,))
    else:
        found = least_constant(objective, targets, shape)

    assert blind_guess(objective, targets) == pytest.approx(found, rel=1e-6)


def test_without_weights_a_blind_guess_is_an_entropy_a_variance_or_a_mean_deviation():
    shares = np.array([0.5, 0.3, 0.2])
    values = TEN.double() ** 3
    assert blind_guess(ts.Multiclass(3), TEN) == pytest.approx(-(shares * np.log(shares)).sum())
    assert blind_guess(ts.Regression(), values) == pytest.approx(float(values.var(correction=0)))
    assert blind_guess(ts.Regression("mae"), values) == pytest.approx(
        np.abs(values.numpy() - np.median(values.numpy())).mean()
    )
    assert even_guess(ts.Binary(), torch.randn(10), (TEN > 0).long()) == pytest.approx(math.log(2))
    assert blind_guess(ts.Objective(), TEN) is None


def test_the_first_loss_is_that_of_the_first_step_of_training(tmp_path):
    choices = {"model": "mlp", "epochs": 1, "max_steps": 1, "run.log_every": 1, "batch_size": 50}
    trained = ts.train("digits", out=tmp_path / "run", show=False, doctor=False, **choices)

    found = trace_source("digits", {"model.name": "mlp", "train.batch_size": 50})

    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert found.content["loss"]["value"] == next(row["train_loss"] for row in rows if "train_loss" in row)
    targets = load("digits").train.targets
    shares = targets.bincount().double() / len(targets)
    assert found.content["loss"]["guess"] == approx(float(-(shares * shares.log()).sum()))
    assert trained.results["steps"] == 1


# Nothing changes


def test_model_optimizer_batch_and_random_numbers_stay_to_the_bit():
    model = seeded(Own)
    model.norm.eval()  # frozen on purpose
    model.out.weight.grad = torch.randn(4, 8)
    batch = torch.randn(12, 1, 6, 6), torch.arange(12) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    schedule.step()
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)

    def everything():
        states = [*model.state_dict().values(), *batch, torch.get_rng_state()]
        states += [p.grad for p in model.parameters()]
        states += [v for state in optimizer.state.values() for v in state.values()]
        plain = (random.getstate(), str(np.random.get_state()), [m.training for m in model.modules()])  # noqa: NPY002
        groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
        return [None if s is None else s.clone() for s in states], plain, copy.deepcopy(groups), hooks

    before = everything()
    first = ts.trace(model, batch, CLASSES, optimizer)
    after = everything()

    assert before[1:] == after[1:]
    for was, now in zip(before[0], after[0], strict=True):
        assert (was is None) == (now is None)
        if was is not None:
            assert was.dtype == now.dtype
            assert torch.equal(was, now)
    assert first.content["gradients"]["left_over"] == sum(p.grad is not None for p in model.parameters())
    assert ts.trace(model, batch, CLASSES, optimizer).to_json() == first.to_json()


def test_a_trained_optimizer_steps_on_from_its_state():
    model, batch = small(), classes_batch()
    optimizer = ts.build_optimizer("muon", model)  # a class with more in it than torch's
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    found = ts.trace(model, batch, CLASSES, optimizer, trained=True).content

    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    with torch.no_grad():
        assert found["step"]["loss_after"] == approx(float(F.cross_entropy(model(batch[0]), batch[1])))


def test_models_that_keep_outputs_are_parametrized_or_compiled_are_copied():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = parametrizations.weight_norm(nn.Linear(6, 4))

        def forward(self, inputs):
            self.last = self.layer(inputs)
            return self.last

    model, batch = seeded(Keeps), classes_batch()
    model(batch[0])

    assert ts.trace(model, batch, CLASSES).ok
    assert ts.trace(torch.compile(small()), batch, CLASSES).ok

    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.rows = nn.Linear(6, 4), (row for row in ())

    with pytest.raises(ts.InputError, match=r"model 'Holds': expected one that can be copied.*cannot pickle"):
        ts.trace(Holds(), batch, CLASSES)


# The checks


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch, self.main, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(16, 4)

    def forward(self, inputs):
        return self.out(torch.cat([self.branch(inputs).detach(), self.main(inputs).relu()], 1))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, inputs):
        states = self.first(inputs).relu()
        return self.out(states.t().contiguous().view(len(inputs), 8))  # a reshape that was meant to be a transpose


class OverBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, inputs):
        states = self.first(inputs)
        return self.out(states * states.softmax(0) * 10)


class AlwaysRandom(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, inputs):
        return self.out(F.dropout(self.first(inputs).relu(), 0.2))


def changed(change, model=small):
    made = model()
    with torch.no_grad():
        change(made)
    return made


def ended_in(layer):
    return lambda: nn.Sequential(small(), layer)


def scale_up(model):
    for parameter in model.parameters():
        parameter.mul_(10)


PLANTED = {
    "softmax before cross-entropy": (ended_in(nn.Softmax(1)), {"outputs", "overfits one batch"}),
    "softmax and a view": (ended_in(nn.Sequential(nn.Softmax(1), nn.Unflatten(1, (2, 2)), nn.Flatten())), {"outputs"}),
    "relu at the end": (ended_in(nn.ReLU()), {"outputs"}),
    "detached branch": (lambda: seeded(Detached), {"gradients"}),
    "a view over the batch": (lambda: seeded(Mixed), {"examples apart"}),
    "softmax over the batch": (lambda: seeded(OverBatch), {"examples apart"}),
    "dropout that stays": (lambda: seeded(AlwaysRandom), {"examples apart"}),
    "dead relu": (
        lambda: changed(lambda m: m[0].bias.fill_(-50)),
        {"units alive", "gradients", "overfits one batch"},
    ),
    "biased last layer": (
        lambda: changed(lambda m: m[3].bias.copy_(torch.tensor([5.0, 0, 0, 0]))),
        {"loss at the start"},
    ),
    "large initial weights": (lambda: changed(scale_up), {"loss at the start"}),
    "no running statistics": (
        lambda: seeded(
            lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 4))
        ),
        {"examples apart"},
    ),
    "all weights the same": (
        lambda: changed(lambda m: [p.zero_() for p in m.parameters()]),
        {"gradients", "units alive"},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(name):
    make, expected = PLANTED[name]

    found = ts.trace(make(), classes_batch(), CLASSES)

    assert expected <= wrong(found)
    assert not wrong(found) - expected - {"overfits one batch"}
    assert not found.ok
    assert all(check.advice for check in found.checks if check.status == "wrong")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "make",
    [
        small,
        lambda: small(dropout=0.5),
        lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)),
        lambda: nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)),
        lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4)),
        lambda: nn.Sequential(nn.Linear(6, 4), nn.LogSoftmax(1)),  # twice is as once
    ],
)
def test_right_models_pass(make, seed):
    found = ts.trace(seeded(make, seed), classes_batch(seed=seed), CLASSES)

    assert found.ok, str(found)


def test_a_last_layer_that_begins_at_0_is_no_mistake():
    model = changed(lambda m: (m[3].weight.zero_(), m[3].bias.zero_()))

    found = ts.trace(model, classes_batch(), CLASSES)

    assert found.ok, str(found)
    assert "2 only from a later step on" in " ".join(str(found).split())


def test_an_optimizer_of_other_parameters_is_noticed():
    model = small()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)

    found = ts.trace(model, classes_batch(), CLASSES, optimizer)

    assert wrong(found) == {"step"}
    assert "2 of 4 parameters with a gradient stay: 3.weight, 3.bias" in " ".join(str(found).split())
    assert wrong(ts.trace(model, classes_batch(), CLASSES, torch.optim.SGD(small().parameters(), lr=0.1))) == {"step"}
    assert wrong(ts.trace(model, classes_batch(), CLASSES, torch.optim.SGD(model.parameters(), lr=1e4))) == {"step"}


def test_a_model_without_gradients_is_shown_up_to_its_loss():
    frozen = small().requires_grad_(requires_grad=False)
    found = ts.trace(frozen, classes_batch(), CLASSES)

    assert wrong(found) == {"gradients"}
    assert found.content["optimizer"] is None
    assert found.content["step"]["taken"] is False
    assert "nothing to train: 4 parameters, all frozen" in " ".join(str(found).split())

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, inputs):
            with torch.no_grad():
                return self.layer(inputs)

    found = ts.trace(seeded(Cut), classes_batch(), CLASSES)

    assert wrong(found) == {"gradients"}
    assert "no parameter gets one: the loss depends on none of them" in " ".join(str(found).split())
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))


def test_numbers_that_are_not_finite_are_traced_to_where_they_begin():
    class Logs(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.log, self.out = nn.Linear(6, 8), Log(), nn.Linear(8, 4)

        def forward(self, inputs):
            return self.out(self.log(self.first(inputs)))

    class Log(nn.Module):
        def forward(self, states):
            return states.log()

    found = ts.trace(seeded(Logs), classes_batch(), CLASSES)

    said = " ".join(str(found).split())
    assert "finite" in wrong(found)
    assert "they begin in 'log' (Log), whose inputs were finite" in said
    assert found.content["step"]["taken"] is False
    assert math.isnan(found.content["loss"]["value"])
    row = next(row for row in found.content["modules"] if row["name"] == "log")
    plain = seeded(Logs)
    assert row["nonfinite"] == int((~plain.log(plain.first(classes_batch()[0])).isfinite()).sum())
    assert math.isnan(row["mean"])

    bad = changed(lambda m: m[3].weight[0].fill_(math.nan))
    assert "the weights have some already: 3.weight" in " ".join(str(ts.trace(bad, classes_batch(), CLASSES)).split())
    inputs, targets = classes_batch()
    inputs[3, 2] = math.inf
    found = ts.trace(small(), (inputs, targets), CLASSES)
    assert {"inputs", "finite"} <= wrong(found)
    assert found.content["inputs"][0]["nonfinite"] == 1


def test_a_model_that_sees_the_future_is_noticed():
    tokens = torch.randint(1, 30, (8, 17), generator=torch.Generator().manual_seed(0))
    objective = ts.NextToken(num_tokens=30)
    causal = seeded(lambda: Transformer(30, vocabulary=30, causal=True, width=32, heads=2))

    found = ts.trace(causal, tokens, objective)

    assert found.ok, str(found)
    assert status(found)["future unseen"] == "ok"
    for block in causal.blocks:
        block.attention.causal = False
    assert "future unseen" in wrong(ts.trace(causal, tokens, objective))


def test_a_small_model_that_learns_but_not_by_heart_is_no_mistake():
    made = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 3, (2, 49), generator=made).cumsum(1) % 20
    batch = tokens[:, :-1], tokens[:, 1:]  # either of two follows a token, which is all that a bigram sees

    found = ts.trace(seeded(lambda: nn.Embedding(20, 20)), batch, ts.NextToken(20))

    assert found.ok, str(found)
    assert status(found)["overfits one batch"] == "note"


def test_what_nobody_can_know_is_skipped():
    def loss(model, batch):
        return ((model(batch) - batch[:, :4]) ** 2).mean()

    found = ts.trace(small(), classes_batch()[0], loss)

    assert found.ok
    assert status(found)["examples apart"] == status(found)["loss at the start"] == "skipped"
    assert found.content["loss"]["guess"] is None
    assert status(ts.trace(small(), classes_batch(count=1), CLASSES))["examples apart"] == "skipped"
    same = torch.ones(8, 6), torch.arange(8) % 4
    assert status(ts.trace(small(), same, CLASSES))["overfits one batch"] == "skipped"
    few = nn.Linear(1, 1)
    values = torch.randn(24, 1), torch.randn(24)
    assert status(ts.trace(few, values, ts.Regression()))["overfits one batch"] == "note"


def test_targets_far_from_0_are_noticed():
    inputs, _ = classes_batch()
    values = inputs.sum(1) * 100 + 5000
    model = nn.Linear(6, 1)

    assert "loss at the start" in wrong(ts.trace(model, (inputs, values), ts.Regression()))
    assert ts.trace(model, (inputs, values), ts.Regression.of(values)).ok


@pytest.mark.parametrize(
    ("objective", "outputs", "targets"),
    [
        (ts.Binary(), 1, torch.arange(24) % 2),
        (ts.Multilabel(3), 3, torch.randint(0, 2, (24, 3), generator=torch.Generator().manual_seed(0))),
        (ts.Regression(), 1, torch.randn(24, generator=torch.Generator().manual_seed(0))),
        (ts.Regression("mae"), 2, torch.randn(24, 2, generator=torch.Generator().manual_seed(0))),
        (ts.Multiclass(4, label_smoothing=0.3), 4, torch.arange(24) % 4),
        (ts.Multiclass(4, class_weights=(1.0, 2.0, 3.0, 4.0)), 4, torch.arange(24) % 4),
        (ts.Multiclass(4), 4, torch.eye(4)[torch.arange(24) % 4] * 0.8 + 0.05),
    ],
)
def test_every_objective_passes_with_a_right_model_and_fails_with_a_sigmoid_at_its_end(objective, outputs, targets):
    inputs, _ = classes_batch()
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, outputs)))

    found = ts.trace(model, (inputs, targets), objective)

    assert found.ok, str(found)
    assert status(found)["overfits one batch"] == "ok"
    assert "outputs" in wrong(ts.trace(nn.Sequential(model, nn.Sigmoid()), (inputs, targets), objective))


@pytest.mark.parametrize(
    ("layer", "objective", "outputs", "words"),
    [
        (nn.Softmax(1), CLASSES, 4, "the loss applies it itself: every difference"),
        (nn.Sigmoid(), CLASSES, 4, "the loss applies a softmax to outputs that are between 0 and 1 then: every difference"),
        (nn.Sigmoid(), ts.Multilabel(4), 4, "the loss applies it itself: no answer can be surer than 50 % of no, or 73 % of yes"),
        (nn.Softmax(1), ts.Multilabel(4), 4, "the loss applies a sigmoid to outputs that are between 0 and 1 then: no answer"),
    ],
)  # fmt: skip
def test_what_a_squashed_output_does_is_told_of_the_loss_that_there_is(layer, objective, outputs, words):
    inputs, targets = classes_batch()
    targets = targets if objective is CLASSES else F.one_hot(targets)

    found = ts.trace(nn.Sequential(nn.Linear(6, outputs), layer), (inputs, targets), objective)

    assert words in next(check.found for check in found.checks if check.name == "outputs")


def test_the_floors_of_sigmoid_twice_are_those_of_certain_answers():
    binary, half = ts.Binary(), lambda count: [(x, y % 2) for x, y in batches_of(count)]
    model = seeded(lambda: nn.Linear(6, 1))

    found = teach("softmax", model, half, binary, lambda copied: torch.optim.SGD(copied.parameters(), lr=0.1))

    no, yes = (F.binary_cross_entropy_with_logits(torch.tensor(v), torch.tensor(v)) for v in (0.0, 1.0))
    assert f"below {no:.4f} for a no, nor below {yes:.4f} for a yes" in found.known_by


def test_running_statistics_that_are_not_learnt_yet_are_named_as_the_cause():
    inputs, targets = classes_batch()
    model = seeded(lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)))

    found = ts.trace(model, (inputs * 1000, targets), CLASSES)

    check = next(check for check in found.checks if check.name == "loss at the start")
    assert check.status == "note"
    assert "in evaluation mode, that is with dropout off and batch norm's running statistics" in check.found
    assert "The running statistics are not learnt yet" in check.advice
    with torch.no_grad():
        model[3].bias[0] = 20.0  # then it is not they
    found = ts.trace(model, (inputs * 1000, targets), CLASSES)
    assert "loss at the start" in wrong(found)


def test_gradients_that_are_no_numbers_or_all_0_are_wrong():
    poisoned = changed(lambda m: m[3].weight.fill_(math.nan))
    still = changed(lambda m: m[0].bias.fill_(-50), lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU()))

    assert {"finite", "gradients"} <= wrong(ts.trace(poisoned, classes_batch(), CLASSES))
    found = ts.trace(still, classes_batch(), CLASSES, torch.optim.SGD(still.parameters(), lr=0.1))
    assert found.content["gradients"]["norm"] == 0
    assert {"gradients", "step"} <= wrong(found)


def test_what_is_no_model_no_batch_or_no_objective_is_refused_at_the_start(monkeypatch):
    class Leaves(nn.Linear):
        def forward(self, _):
            raise SystemExit(5)

    with pytest.raises(ts.InputError, match=r"^model: expected a torch\.nn\.Module, found a function\."):
        ts.trace(lambda inputs: inputs, classes_batch(), CLASSES)
    with pytest.raises(ts.InputError, match=r"^batch: expected examples, found none\."):
        ts.trace(small(), (torch.empty(0, 6), torch.empty(0, dtype=torch.int64)), CLASSES)
    with pytest.raises(ts.InputError, match=r"^model 'Leaves': failed on .*; SystemExit: 5 \(test_trace\.py, line"):
        ts.trace(Leaves(6, 4), classes_batch(), CLASSES)

    def refuses(objective):
        raise ts.InputError("objective: no")

    monkeypatch.setattr("truestep.tracing.as_objective", refuses)
    with pytest.raises(ts.InputError, match=r"^objective: no$"):
        ts.trace(small(), classes_batch(), nn.CrossEntropyLoss())


def test_nests_of_inputs_and_outputs_are_shown():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.LSTM(6, 8, num_layers=2, dropout=0.2, batch_first=True), nn.Linear(9, 4)

        def forward(self, steps, extra):
            states, (last, _) = self.rnn(steps)
            return {"logits": self.out(torch.cat([last[-1], extra], 1)), "states": states, "last": last}

    class FromDict(ts.Objective):
        def loss_sum(self, outputs, targets):
            return F.cross_entropy(outputs["logits"], targets, reduction="sum")

        def count(self, targets):
            return len(targets)

    batch = {"steps": torch.randn(12, 5, 6), "extra": torch.randn(12, 1)}, torch.arange(12) % 4
    found = ts.trace(seeded(Two), batch, FromDict())

    assert found.ok, str(found)
    assert status(found)["examples apart"] == "ok"
    assert [t["name"] for t in found.content["inputs"]] == ["steps", "extra"]
    assert [t["name"] for t in found.content["outputs"]] == ["outputs.logits", "outputs.states", "outputs.last"]
    row = next(row for row in found.content["modules"] if row["name"] == "rnn")
    assert (row["tensors"], row["shape"]) == (3, [12, 5, 8])
    with pytest.raises(ts.InputError, match=r"can't make a loss of a dict as outputs.*expected one tensor"):
        ts.trace(seeded(Two), batch, CLASSES)


def test_a_batch_that_does_not_fit_is_refused_with_the_place():
    inputs, targets = classes_batch()
    with pytest.raises(
        ts.InputError, match=r"model 'Sequential', module '0', a Linear\(in_features=6.*shape \(24, 5\)"
    ):
        ts.trace(small(), (inputs[:, :5], targets), CLASSES)
    with pytest.raises(ts.InputError, match=r"targets, row 3: expected a class in \[0, 4\), found 7"):
        ts.trace(small(), (inputs, targets.clone().index_fill_(0, torch.tensor([3]), 7)), CLASSES)
    with pytest.raises(ts.InputError, match=r"outputs: expected \(N, 5\) logits, found shape \(24, 4\)"):
        ts.trace(small(), (inputs, targets), ts.Multiclass(5))
    with pytest.raises(ts.InputError, match="batch: expected it on meta, where the model is, found a tensor on cpu"):
        ts.trace(small().to("meta"), (inputs, targets), CLASSES)


def test_what_dies_after_forward_is_told_as_well():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.out = nn.Linear(6, 8), nn.Linear(8, 4)

        def forward(self, inputs):
            states = self.first(inputs).exp()
            return self.out(states) + states.add_(1)[:, :4]

    class TrainsOtherwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(6, 4)

        def forward(self, inputs):
            outputs = self.out(inputs)
            return outputs if self.training else (outputs, outputs)

    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(9, 8, sparse=True), nn.Linear(8, 4)

        def forward(self, tokens):
            return self.out(self.table(tokens).mean(1))

    with pytest.raises(ts.InputError, match=r"model 'Overwrites': backward failed; RuntimeError: one of the variables"):
        ts.trace(Overwrites(), classes_batch(), CLASSES)
    found = ts.trace(seeded(TrainsOtherwise), classes_batch(), CLASSES)
    assert found.ok
    assert status(found)["overfits one batch"] == "note"
    assert "could not be tried: objective 'multiclass': can't make a loss of a tuple" in " ".join(str(found).split())
    tokens = torch.randint(0, 9, (24, 5), generator=torch.Generator().manual_seed(0)), torch.arange(24) % 4
    model = seeded(Sparse)
    with pytest.raises(ts.InputError, match=r"optimizer 'AdamW': its step failed; .*sparse"):
        ts.trace(model, tokens, CLASSES, torch.optim.AdamW(model.parameters()))
    found = ts.trace(model, tokens, CLASSES, torch.optim.SGD(model.parameters(), lr=0.1))
    assert found.ok, str(found)
    with pytest.raises(ts.InputError, match=r"model 'LazyLinear': expected layers that know their sizes"):
        ts.trace(nn.LazyLinear(4), classes_batch(), CLASSES)


ZOO = [
    ("digits", "cnn"),
    ("digits", "linear"),
    ("digits", "mlp"),
    ("iris", "linear"),
    ("breast-cancer", "mlp"),
    ("diabetes", "linear"),
    ("penguins", "mlp"),
    ("flights", "mlp"),
    ("speeches", "bag"),
]
SLOW_ZOO = [
    ("digits", "resnet"),
    ("iris", "mlp"),
    ("wine", "linear"),
    ("wine", "mlp"),
    ("breast-cancer", "linear"),
    ("diabetes", "mlp"),
    ("penguins", "linear"),
    ("flights", "linear"),
    ("speeches", "recurrent"),
    ("speeches", "transformer"),
    ("speeches-text", "recurrent"),
    ("speeches-text", "transformer"),
]


def check_zoo(source, model, seed=0):
    found = trace_source(source, {"model.name": model, "run.seed": seed})

    assert found.ok, str(found)
    assert status(found)["overfits one batch"] == "ok", str(found)
    assert status(found)["examples apart"] == "ok", str(found)


@pytest.mark.parametrize(("source", "model"), ZOO[::3])
def test_models_of_ours_pass_on_bundled_data(source, model):
    check_zoo(source, model)


@pytest.mark.parametrize(("source", "features"), [("iris", 4), ("diabetes", 10), ("breast-cancer", 30)])
def test_initial_weights_of_torch_are_neither_too_sure_nor_knowing(source, features):
    data = load(source)
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:32]
    inputs, targets = torch.cat(list(take(data.train.inputs, rows).values()), 1), data.train.targets[rows]
    objective = choose_objective(Recipe(), data)
    for seed in range(60):
        model = seeded(lambda: nn.Linear(features, data.target.num_outputs), seed)
        with torch.no_grad():
            even = even_guess(objective, model(inputs), targets)
        assert start(Subject(model, (inputs, targets), objective, None), {"loss": {"even": even}}).status == "ok", seed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("source", "model"), [*ZOO, *SLOW_ZOO])
def test_models_of_ours_pass_on_bundled_data_whatever_the_seed(source, model, seed):
    check_zoo(source, model, seed)


# A classic mistake beside the right way


def batches_of(count):
    return [classes_batch(count=12, seed=number) for number in range(count)]


def plain_loop(*, clears=True, lr=0.1, squash=None, model=None, dropout=0.3):
    model = model or small(dropout=dropout)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    rows = []
    torch.manual_seed(5)
    for inputs, targets in batches_of(STEPS):
        if clears:
            optimizer.zero_grad()
        outputs = model(inputs)
        outputs = outputs if squash is None else squash(outputs)
        loss = F.cross_entropy(outputs, targets)
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        moved = torch.stack([(p.detach() - b).norm() for p, b in zip(model.parameters(), before, strict=True)]).norm()
        length = torch.stack([b.norm() for b in before]).norm()
        rows.append((float(loss.detach()), float(norm), float(moved / length)))
    return model, rows


def taught(word, *, dropout=0.3, objective=CLASSES):
    model = small(dropout=dropout)
    torch.manual_seed(5)
    before = copy.deepcopy(model.state_dict())
    found = teach(word, model, batches_of, objective, lambda copied: torch.optim.SGD(copied.parameters(), lr=0.1))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert found.rule in pages.names()
    assert all(cells(line) <= 80 for line in found.lines(80))
    json.dumps(found.to_json(), allow_nan=False)
    return found


def column(found, name):
    return [row[name] for row in found.rows]


@pytest.mark.parametrize(
    ("word", "mistake"),
    [("zero-grad", {"clears": False}), ("softmax", {"squash": lambda outputs: outputs.softmax(1)})],
)
def test_both_ways_of_training_have_the_numbers_of_plain_loops(word, mistake):
    found = taught(word)

    for way, (_, rows) in (("right", plain_loop()), ("broken", plain_loop(**mistake))):
        assert column(found, f"loss_{way}") == pytest.approx([row[0] for row in rows], rel=1e-5)
        assert column(found, f"gradient_norm_{way}") == pytest.approx([row[1] for row in rows], rel=1e-5)
    assert column(found, "loss_right")[-1] != column(found, "loss_broken")[-1]


def test_the_norm_of_one_batch_among_the_uncleared_is_its_own():
    found = taught("zero-grad", dropout=0.0)
    model, _ = plain_loop(clears=False, dropout=0.0)
    again, batches = small(), batches_of(STEPS)
    optimizer = torch.optim.SGD(again.parameters(), lr=0.1)
    own = []
    for inputs, targets in batches:
        alone = torch.autograd.grad(F.cross_entropy(again(inputs), targets), list(again.parameters()))
        own.append(float(torch.stack([g.norm() for g in alone]).norm()))
        F.cross_entropy(again(inputs), targets).backward()
        optimizer.step()

    assert torch.equal(model[0].weight, again[0].weight)
    assert column(found, "gradient_norm_own") == pytest.approx(own, rel=1e-3)
    assert own[-1] < column(found, "gradient_norm_broken")[-1]


def test_the_floor_of_softmax_twice_is_that_of_certain_answers():
    found = taught("softmax")
    certain = F.cross_entropy(torch.eye(4)[torch.arange(4)], torch.arange(4))

    assert f"can't fall below {certain:.4f} with 4 classes" in found.seen[0]


def test_learning_rates_a_hundred_times_off_have_the_numbers_of_plain_loops():
    found = taught("lr")

    for way, lr in (("right", 0.1), ("broken", 0.1 * TOO_HIGH), ("low", 0.1 / TOO_HIGH)):
        _, rows = plain_loop(lr=lr)
        assert column(found, f"loss_{way}") == pytest.approx([row[0] for row in rows], rel=1e-3)
        assert column(found, f"update_ratio_{way}") == pytest.approx([row[2] for row in rows], rel=1e-3)


def test_evaluating_in_training_mode_has_the_numbers_of_a_plain_loop():
    found = taught("eval")
    model, _ = plain_loop()
    inputs, targets = batches_of(STEPS + TIMES)[STEPS]
    with torch.no_grad():
        model.eval()
        right = [float(F.cross_entropy(model(inputs), targets)) for _ in range(TIMES)]
        model.train()
        broken = [float(F.cross_entropy(model(inputs), targets)) for _ in range(TIMES)]

    assert column(found, "loss_right") == pytest.approx(right, rel=1e-5)
    assert column(found, "loss_broken") == pytest.approx(broken, rel=1e-5)
    assert len(set(right)) == 1 < len(set(broken))
    same = taught("eval", dropout=0.0)
    assert column(same, "loss_right") == column(same, "loss_broken")
    assert same.seen[0].startswith("No difference here")


def test_bytes_kept_without_no_grad_are_those_that_graphs_save():
    found = taught("no-grad", dropout=0.0)
    model, (inputs, _) = small(), batches_of(1)[0]
    # Of each batch: its inputs (Linear), the relu's outputs (relu and Linear share them), log-probabilities, targets.
    expected = 4 * inputs.numel() + 4 * 12 * 16 + 4 * 12 * 4 + 8 * 12
    expected += 4  # the total weight that cross-entropy divides by

    assert column(found, "bytes_right") == [0] * TIMES
    assert column(found, "bytes_broken") == [expected * batch for batch in range(1, TIMES + 1)]
    assert model is not None


def test_softmax_is_refused_for_numbers():
    with pytest.raises(ts.InputError, match=r"broken softmax: expected classes.*found regression"):
        teach_source("softmax", "diabetes", {})


# In a shell


def truestep(*arguments, capsys):
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def strict_json(text):
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_features, num_classes):
        super().__init__()
        self.hidden, self.output = nn.Linear(num_features, 24), nn.Linear(24, num_classes)

    def forward(self, images):
        return self.output(self.hidden(images.flatten(1)).relu())

class Dies(Net):
    def forward(self, images):
        raise ValueError("no idea")

class Logs(Net):
    def forward(self, images):
        return super().forward(images).log()
"""


def test_a_trace_in_a_shell_fits_80_cells_is_json_and_leaves_nothing(here, capsys):
    (here / "net.py").write_text(NET)

    for choices in (["--model", "linear"], ["--model", "net.py:Net"], ["--model", "net.py:Logs"]):
        code, out, err = truestep("trace", "digits", *choices, capsys=capsys)
        assert (code, err) == (0, "")
        assert max(cells(line) for line in out.splitlines()) <= 80
        assert "\x1b" not in out
        code, out, err = truestep("trace", "digits", *choices, "--json", capsys=capsys)
        found = strict_json(out)
        assert (code, err, found["version"]) == (0, "", 1)
        assert found["ok"] == (choices[1] != "net.py:Logs")
    assert found["loss"]["value"] == "NaN"
    assert [path.name for path in here.iterdir()] == ["net.py"]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_cuts_nothing_and_explains_no_column_that_is_left_out(width):
    model = seeded(lambda: nn.Sequential(OrderedDict(hidden=small(dropout=0.1), output=nn.Linear(4, 4))))

    lines = ts.trace(model, classes_batch(), CLASSES).lines(width)

    assert max(map(cells, lines)) <= width
    assert not [line for line in lines if line.endswith("...")]
    text = " ".join(" ".join(lines).split())
    assert all(words in text for words in ("# forward: what does the model say?", "0 to 3", "update/weights", "dead:"))
    head = next(line for line in lines if line.startswith("   module"))
    assert "dead" in head
    assert ("left out, for want of room" in text) == (width < 80)
    for word in ("lr", "softmax"):
        lines = taught(word).lines(width)
        assert max(map(cells, lines)) <= width
        assert not [line for line in lines if line.endswith("...")]


def test_the_keys_of_the_json_are_those_of_the_page():
    page = (ROOT / "docs" / "trace.md").read_text()
    found = ts.trace(small(), classes_batch(), CLASSES).to_json()
    lesson = teach(
        "zero-grad", small(), batches_of, CLASSES, lambda m: torch.optim.SGD(m.parameters(), lr=0.1)
    ).to_json()

    keys = [*found, *found["inputs"][0], *found["modules"][0], *found["parameters"][0], *found["step"], *found["loss"]]
    keys += [*found["gradients"], *found["checks"][0], *found["model"], *lesson]
    assert [key for key in keys if f"`{key}`" not in page] == []


@pytest.mark.parametrize("word", LESSONS)
def test_every_mistake_can_be_shown_in_a_shell(word, here, capsys):
    code, out, err = truestep("trace", "penguins", "--broken", word, capsys=capsys)

    assert (code, err) == (0, "")
    assert max(cells(line) for line in out.splitlines()) <= 80
    code, out, _ = truestep("trace", "penguins", "--broken", word, "--json", capsys=capsys)
    assert strict_json(out)["word"] == word
    assert list(here.iterdir()) == []


def test_images_show_eval_with_a_model_that_has_dropout(here, capsys):
    for arguments in (["digits"], ["images"]):
        make_images(here / "images") if arguments == ["images"] else None

        code, out, err = truestep("trace", *arguments, "--broken", "eval", capsys=capsys)

        assert (code, err) == (0, "")
        assert "has no dropout" in out


def test_a_finished_run_is_traced_as_it_is(here, capsys):
    (here / "net.py").write_text(NET)
    run = ts.train("digits", out="run", epochs=1, model="net.py:Net", show=False, doctor=False)
    before = files(here / "run")

    code, out, _ = truestep("trace", "run", "--model", "net.py:Net", "--json", capsys=capsys)

    found = strict_json(out)
    assert code == 0
    assert found["ok"]
    assert found["head"]["objective"] == "multiclass: that of the run"
    norms = {row["name"]: row["weight_norm"] for row in found["parameters"]}
    for name, parameter in run.model.named_parameters():
        assert norms[name] == approx(float(parameter.detach().norm()))
    assert next(check for check in found["checks"] if check["name"] == "loss at the start")["status"] == "skipped"
    assert truestep("trace", "run", "--model", "net.py:Net", "--broken", "lr", capsys=capsys)[0] == 0
    code, _, err = truestep("trace", "run", capsys=capsys)
    assert (code, err.count("\n")) == (3, 1)
    assert "names code, net.py:Net. A file's word is not enough to run it: say it with --model.name net.py:Net" in err
    code, _, err = truestep("trace", "run", "--model", "net.py:Dies", capsys=capsys)
    assert (code, "--model: this run's is 'net.py:Net', found 'net.py:Dies'" in err) == (2, True)
    code, _, err = truestep("trace", "run", "--recipe", "run/recipe.toml", capsys=capsys)
    assert (code, "expected no recipe beside the folder of a run" in err) == (2, True)
    recipe = here / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('name = "adamw"', 'name = "evil.py:Optimizer"'))
    code, _, err = truestep("trace", "run", "--model", "net.py:Net", capsys=capsys)
    assert (code, "optimizer.name names code, evil.py:Optimizer" in err) == (3, True)
    recipe.write_bytes(before[recipe.relative_to(here / "run")])
    assert files(here / "run") == before


def test_a_stopped_run_is_traced_from_its_newest_checkpoint(here, capsys):
    ts.train("penguins", out="run", epochs=3, show=False, doctor=False)
    (here / "run" / "model").rename(here / "model")
    before = files(here / "run")
    newest = max((here / "run" / "checkpoints").iterdir())
    from safetensors.torch import load_file

    code, out, _ = truestep("trace", "run", "--json", capsys=capsys)

    found = strict_json(out)
    assert code == 0
    assert newest.name in found["head"]["weights"]
    kept = [
        float(tensor.norm())
        for tensor in load_file(newest / "state.safetensors").values()
        if tensor.is_floating_point()
    ]
    for row in found["parameters"]:
        assert any(row["weight_norm"] == approx(norm) for norm in kept)
    assert files(here / "run") == before
    (newest / "state.safetensors").write_bytes(b"damaged")
    code, _, err = truestep("trace", "run", capsys=capsys)
    assert (code, err.count("\n")) == (3 if len(list(newest.parent.iterdir())) == 1 else code, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits", "--broken", "softmx"], "broken: expected one of zero-grad, eval, no-grad, softmax, lr, found 'softmx'. Did you mean 'softmax'?"),
        (["empty"], "Nor is it the folder of a run, which has a recipe.toml."),
        ([], "source: expected data to trace, found none. Try: truestep trace digits"),
        (["nowhere.csv"], "nowhere.csv"),
        (["digits", "--model", "net.py:Dies"], "model 'Dies': failed on float32 of shape (32, 1, 8, 8); ValueError: no idea (net.py, line 15)"),
        (["digits", "--model", "net.py:Net", "--model.args.num_features", "9"], "module 'hidden', a Linear(in_features=9"),
        (["digits", "--lr", "-1"], "--lr: expected a number above 0, found -1.0."),
        (["diabetes", "--broken", "softmax"], "broken softmax: expected classes"),
        (["digits", "--optimizer", "lbfgs", "--broken", "lr"], "expected an optimizer that takes one gradient a step, found lbfgs"),
    ],
)  # fmt: skip
def test_what_can_not_be_traced_is_one_line_and_exit_code_2(arguments, words, here, capsys):
    (here / "net.py").write_text(NET)
    (here / "empty").mkdir()

    code, out, err = truestep("trace", *arguments, capsys=capsys)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_folders_whose_data_came_from_elsewhere_are_refused_with_the_way_out(here, capsys):
    inputs, targets = classes_batch(count=60)
    ts.train((inputs.numpy(), targets.numpy()), out="python", epochs=1, show=False, doctor=False)
    (here / "own.py").write_text("import torch\n\ndef data():\n    return torch.randn(60, 6), torch.arange(60) % 4\n")
    ts.train("own.py:data", out="code", epochs=1, show=False, doctor=False)

    code, _, err = truestep("trace", "python", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "came from Python. Use truestep.trace there." in err
    code, _, err = truestep("trace", "code", capsys=capsys)
    assert (code, err.count("\n")) == (3, 1)
    again = err.strip().partition("truestep trace ")[2].split()
    code, out, _ = truestep("trace", *again, "--json", capsys=capsys)
    assert code == 0
    assert strict_json(out)["model"]["trained"]
    code, _, err = truestep("trace", "python", "--lr", "1", capsys=capsys)
    assert (code, "expected no choices beside the folder of a run" in err) == (2, True)


def make_images(folder):
    made = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(made.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


def make_series(path):
    made = np.random.default_rng(0)
    rows = 120
    columns = OrderedDict(day=np.arange(rows), price=made.normal(size=rows), sold=made.normal(size=rows))
    pl.DataFrame(columns).write_csv(path)


def make_reviews(path):
    words = ["good", "bad", "film", "plot", "slow", "great"]
    made = np.random.default_rng(0)
    texts = [" ".join(made.choice(words, 12)) + f" number {row} of them all." for row in range(80)]
    pl.DataFrame({"review": texts, "stars": [("low", "high")[row % 2] for row in range(80)]}).write_csv(path)


def test_every_kind_of_data_can_be_traced(here, capsys):
    make_images(here / "photos")
    make_series(here / "series.csv")
    make_reviews(here / "reviews.csv")
    (here / "book.txt").write_text("It was the best of times, it was the worst of times.\n" * 200)
    made = np.random.default_rng(0)
    np.savez(
        here / "arrays.npz", inputs=made.normal(size=(60, 5)).astype(np.float32), targets=made.integers(0, 2, (60, 3))
    )
    (here / "own.py").write_text(
        "import torch\nfrom torch.utils.data import Dataset\n\n"
        "class Pairs(Dataset):\n"
        "    def __len__(self):\n        return 60\n\n"
        "    def __getitem__(self, row):\n"
        "        made = torch.Generator().manual_seed(row)\n"
        "        return torch.randn(3, 8, 8, generator=made), row % 3\n\n"
        "def data():\n    return Pairs()\n"
    )
    sources = {
        "photos": ["--augment.flip", "--augment.mixup", "0.4"],
        "series.csv": ["--target", "sold", "--time", "day", "--window", "8"],
        "reviews.csv": ["--target", "stars"],
        "book.txt": ["--model", "recurrent", "--model.args.width", "32", "--data.length", "32"],
        "arrays.npz": [],
        "own.py:data": [],
    }

    for source, choices in sources.items():
        code, out, err = truestep("trace", source, *choices, "--json", capsys=capsys)
        assert code == 0, err
        found = strict_json(out)
        assert [check for check in found["checks"] if check["status"] == "wrong"] == [], source
        assert found["step"]["loss_after"] < found["loss"]["value"], source
    assert not list(here.rglob("__pycache__"))


def test_the_models_of_ours_are_traced_in_python_too():
    images = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
    assert ts.trace(seeded(lambda: CNN(1, 8, 8, 4)), images, CLASSES).ok
    table = {"numeric": torch.randn(16, 3), "categories": torch.randint(0, 5, (16, 2))}, torch.arange(16) % 4
    assert ts.trace(seeded(lambda: MLP(3, [5, 5], 4)), table, CLASSES).ok
