"""Weights decay that should, every optimizer learns and resumes, and every schedule is torch's of that name."""

from __future__ import annotations

import copy
import json
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim import lr_scheduler as torch_schedules

from truestep.errors import InputError
from truestep.optimizers import (
    DEFAULT_LR,
    FACTORS,
    OPTIMIZERS,
    SCHEDULES,
    build_optimizer,
    build_schedule,
    parameter_groups,
)


class Tied(nn.Module):
    """An embedding, a norm, two hidden matrices (one frozen), and an output layer that shares the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(requires_grad=False)
        self.hidden = nn.Linear(4, 4)
        self.output = nn.Linear(4, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens):
        return self.output(self.norm(self.hidden(self.frozen(self.embedding(tokens)))))


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def loss_of(model):
    inputs = torch.linspace(-1, 1, 80).view(20, 4)
    return (model(inputs)[:, 0] - inputs.sum(1).sin()).square().mean()


def train(model, optimizer, steps):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def learning_rates(scheduler, steps):
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def sgd(lr=0.3):
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


# Optimizers


def test_matrices_decay_and_biases_and_norms_do_not():
    model = Tied()
    decayed, others = parameter_groups(model, 0.1)
    weights = (model.embedding.weight, model.frozen.weight, model.hidden.weight)
    rest = (model.norm.weight, model.norm.bias, model.frozen.bias, model.hidden.bias)
    assert [id(p) for p in decayed["params"]] == [id(p) for p in weights]
    assert [id(p) for p in others["params"]] == [id(p) for p in rest]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_learning_rates_go_by_the_first_pattern_and_decay_by_the_shape():
    model = Tied()
    groups = parameter_groups(model, 0.1, {"hidden.bias": 0.5, "hidden": 0.25, "n*": 0.125})
    found = {id(p): (group.get("lr"), group["weight_decay"]) for group in groups for p in group["params"]}
    assert {name: found[id(p)] for name, p in model.named_parameters()} == {
        "embedding.weight": (None, 0.1),
        "norm.weight": (0.125, 0.0),
        "norm.bias": (0.125, 0.0),
        "frozen.weight": (None, 0.1),
        "frozen.bias": (None, 0.0),
        "hidden.weight": (0.25, 0.1),
        "hidden.bias": (0.5, 0.0),
    }
    assert len(groups) == 5
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "muon", "torch.optim:NAdam"])
def test_a_learning_rate_of_its_own_is_what_a_weight_moves_by(name):
    """A rate of almost nothing leaves it where it was; the rate of the others makes it move as them."""
    start, model, same = small_model(), small_model(), small_model()
    train(model, build_optimizer(name, model, lrs={"2": 1e-12}), 3)
    torch.testing.assert_close(model[2].weight, start[2].weight, rtol=0, atol=1e-8)
    assert not torch.allclose(model[0].weight, start[0].weight, rtol=0, atol=1e-4)
    rate = build_optimizer(name, same).param_groups[0]["lr"]
    train(same, build_optimizer(name, same, lrs={"2": rate}), 3)
    plain = small_model()
    train(plain, build_optimizer(name, plain), 3)
    assert torch.equal(weights_of(same), weights_of(plain))


@pytest.mark.parametrize(
    ("lrs", "message"),
    [
        ({"hiden": 0.1}, r"^optimizer\.lrs: no weights are called 'hiden'\. Did you mean 'hidden'\?$"),
        ({"hidden": 0.0}, r"^optimizer\.lrs\.hidden: expected a number above 0, found 0\.0\.$"),
        ({"hidden": math.nan}, r"^optimizer\.lrs\.hidden: expected a number above 0, found nan\.$"),
    ],
)
def test_learning_rates_that_fit_no_weight_are_refused(lrs, message):
    with pytest.raises(InputError, match=message):
        build_optimizer("adamw", Tied(), lrs=lrs)
    with pytest.raises(InputError, match=r"^optimizer\.lrs: lbfgs has one learning rate for all weights\."):
        build_optimizer("lbfgs", small_model(), lrs={"0": 0.1})


def test_an_empty_group_is_left_out():
    assert len(parameter_groups(nn.Linear(2, 2, bias=False), 0.1)) == 1
    assert len(parameter_groups(nn.LayerNorm(2), 0.1)) == 1


@pytest.mark.parametrize("name", [*OPTIMIZERS, "torch.optim:NAdam"])
def test_every_optimizer_lowers_the_loss_with_its_own_settings(name):
    model = small_model()
    losses = train(model, build_optimizer(name, model), 200)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", [*OPTIMIZERS, "torch.optim:NAdam"])
def test_every_optimizer_resumes_to_the_same_bits(name):
    model = small_model()
    optimizer = build_optimizer(name, model)
    train(model, optimizer, 3)
    state, resumed = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model)
    train(model, optimizer, 3)

    resumed_optimizer = build_optimizer(name, resumed)
    resumed_optimizer.load_state_dict(state)
    train(resumed, resumed_optimizer, 3)

    assert torch.equal(weights_of(model), weights_of(resumed))
    forgetful = copy.deepcopy(resumed)
    train(forgetful, build_optimizer(name, forgetful), 3)
    train(resumed, resumed_optimizer, 3)
    assert not torch.equal(weights_of(forgetful), weights_of(resumed))  # so the state was needed


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_default_learning_rates_are_the_documented_ones(name):
    assert {group["lr"] for group in build_optimizer(name, small_model()).param_groups} == {DEFAULT_LR[name]}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.9), eps=1e-6)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.8, 0.9), eps=1e-6)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.02, eps=1e-6, alpha=0.8)),
    ],
)
def test_the_numbers_are_those_of_torch(name, plain):
    ours, theirs = small_model(), small_model()
    args = {"rmsprop": {"alpha": 0.8, "eps": 1e-6}, "sgd": {}}.get(name, {"betas": [0.8, 0.9], "eps": 1e-6})
    settings = {"momentum": 0.8, "nesterov": True, "args": args}
    train(ours, build_optimizer(name, ours, lr=0.02, weight_decay=0.1, **settings), 5)
    train(theirs, plain(parameter_groups(theirs, 0.1)), 5)
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=1e-5, atol=1e-6)


def test_one_fused_kernel_does_the_work_where_there_is_one():
    assert all(build_optimizer(name, small_model()).defaults["fused"] for name in ("sgd", "adam", "adamw"))
    complex_model = nn.Linear(2, 2, dtype=torch.complex64)
    assert not build_optimizer("adamw", complex_model).defaults["fused"]


def test_muon_takes_hidden_matrices_only():
    model = Tied()
    hidden, decayed, others = build_optimizer("muon", model, weight_decay=0.1).param_groups
    assert [id(p) for p in hidden["params"]] == [id(model.frozen.weight), id(model.hidden.weight)]
    assert [id(p) for p in decayed["params"]] == [id(model.embedding.weight)]
    assert len(others["params"]) == 4
    assert [group["weight_decay"] for group in (hidden, decayed, others)] == [0.1, 0.1, 0.0]


def test_a_schedule_reaches_both_halves_of_muon():
    model = small_model()
    optimizer = build_optimizer("muon", model, lr=0.1, weight_decay=0)
    scheduler = build_schedule("polynomial", optimizer, total_steps=1)
    train(model, optimizer, 1)
    scheduler.step()
    before = weights_of(model)
    train(model, optimizer, 1)
    assert torch.equal(before, weights_of(model))  # the learning rate is 0 everywhere


def test_muon_without_hidden_matrices_is_refused():
    with pytest.raises(
        InputError, match=r"^optimizer 'muon': expected hidden weight matrices, found none in this model"
    ):
        build_optimizer("muon", nn.Linear(3, 2))


def test_a_class_of_ones_own_takes_its_arguments_and_keeps_its_defaults():
    model = small_model()
    own = build_optimizer("torch.optim:RAdam", model, args={"betas": (0.5, 0.6)})
    assert type(own) is torch.optim.RAdam
    assert own.defaults["betas"] == (0.5, 0.6)
    assert own.defaults["lr"] == torch.optim.RAdam(model.parameters()).defaults["lr"]
    decays = [g["weight_decay"] for g in build_optimizer("torch.optim:RAdam", model, weight_decay=0.1).param_groups]
    assert decays == [0.1, 0.0]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "adamv",
            {},
            r"^optimizer: expected one of sgd, .*, or package\.module:Class, found 'adamv'\. Did you mean 'adam",
        ),
        ("nowhere:Adam", {}, r"^optimizer 'nowhere:Adam': no module 'nowhere' is installed\.$"),
        (
            "torch.optim:Adum",
            {},
            r"^optimizer 'torch\.optim:Adum': torch\.optim has no 'Adum'\. Did you mean 'Adam'\?$",
        ),
        (":Adam", {}, r"^optimizer: expected one of sgd, .*, found ':Adam'"),
        ("torch.nn:Linear", {}, r"expected a class derived from torch\.optim\.Optimizer, found <class"),
        ("sgd", {"lr": 0.0}, r"^lr: expected a number above 0, found 0\.0\.$"),
        ("sgd", {"lr": math.nan}, r"^lr: expected a number above 0, found nan\.$"),
        ("sgd", {"weight_decay": -1.0}, r"^weight_decay: expected a number of at least 0, found -1\.0\.$"),
        ("sgd", {"momentum": -1.0}, r"^optimizer 'sgd': Invalid momentum value: -1\.0"),
        ("adam", {"args": {"betas": [0.9, 1.0]}}, r"^optimizer 'adam': Invalid beta parameter at index 1"),
        ("adam", {"args": {"speed": 1}}, r"^optimizer 'adam': .*unexpected keyword argument 'speed'"),
        ("lbfgs", {"weight_decay": 0.1}, r"^weight_decay: lbfgs has none, found 0\.1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(name, settings, message):
    with pytest.raises(InputError, match=message) as error:
        build_optimizer(name, small_model(), **settings)
    assert "\n" not in str(error.value)


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(InputError, match=r"^model: expected parameters to train, found none"):
        build_optimizer("sgd", nn.Linear(2, 2).requires_grad_(requires_grad=False))


# Schedules


def after_warmup(optimizer, schedule, warmup):
    rising = torch_schedules.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return torch_schedules.SequentialLR(optimizer, [rising, schedule], milestones=[warmup])


TORCH = {
    "constant": lambda o, n: torch_schedules.ConstantLR(o, factor=1.0),
    "cosine": lambda o, n: torch_schedules.CosineAnnealingLR(o, T_max=n, eta_min=0.1 * 0.3),
    "step": lambda o, n: torch_schedules.StepLR(o, step_size=7, gamma=0.5),
    "exponential": lambda o, n: torch_schedules.ExponentialLR(o, gamma=0.02 ** (1 / n)),
    "polynomial": lambda o, n: torch_schedules.PolynomialLR(o, total_iters=n, power=2.0),
}
ARGS = {
    "cosine": {"final_factor": 0.1},
    "step": {"step_size": 7, "gamma": 0.5},
    "exponential": {"final_factor": 0.02},
    "polynomial": {"power": 2.0},
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # SequentialLR's own
@pytest.mark.parametrize("warmup", [0, 1, 9])
@pytest.mark.parametrize("name", TORCH)
def test_every_step_has_the_learning_rate_of_torch(name, warmup):
    ours = build_schedule(name, sgd(), total_steps=40, warmup_steps=warmup, args=ARGS.get(name))
    optimizer = sgd()
    theirs = TORCH[name](optimizer, 40 - warmup)
    if warmup:
        optimizer.param_groups[0]["lr"] = 0.3
        theirs = after_warmup(optimizer, theirs, warmup)
    assert learning_rates(ours, 40) == pytest.approx(learning_rates(theirs, 40), abs=1e-12)


@pytest.mark.parametrize(("total", "warmup"), [(40, 0), (41, 0), (40, 10), (40, 2), (7, 0), (3, 2)])
def test_one_cycle_has_the_learning_rate_of_torch(total, warmup):
    ours = build_schedule("one-cycle", sgd(), total_steps=total, warmup_steps=warmup)
    share = warmup / total if warmup else 0.3
    theirs = torch_schedules.OneCycleLR(sgd(), max_lr=0.3, total_steps=total, pct_start=share, cycle_momentum=False)
    steps = total - 1  # torch's own raises when stepped once more
    assert learning_rates(ours, steps) == pytest.approx(learning_rates(theirs, steps), abs=1e-12)


def test_warmup_stable_decay_is_three_straight_lines():
    schedule = build_schedule("wsd", sgd(1.0), total_steps=20, warmup_steps=4, args={"decay_fraction": 0.25})
    rates = learning_rates(schedule, 21)
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:16] == [1.0] * 12
    assert rates[15:] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])


def test_wsd_that_has_no_room_to_be_stable_still_has_no_jump():
    schedule = build_schedule("wsd", sgd(1.0), total_steps=10, warmup_steps=8, args={"decay_fraction": 1.0})
    rates = learning_rates(schedule, 11)
    assert rates[8:] == pytest.approx([1.0, 0.5, 0.0])


def test_plateau_lowers_the_learning_rate_when_a_metric_stays():
    optimizer = sgd(1.0)
    schedule = build_schedule("plateau", optimizer, total_steps=9, mode="max", args={"patience": 1, "factor": 0.5})
    rates = []
    for metric in (-3.0, -2.0, -2.00001, -2.0, -1.0):  # the third and fourth are no improvement
        schedule.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (2, 1), (5, 0), (50, 7)])
def test_factors_stay_between_0_and_1_and_stay_put_after_the_end(name, total, warmup):
    factors = [FACTORS[name](step, total_steps=total, warmup_steps=warmup) for step in range(total + 5)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert len({round(factor, 12) for factor in factors[total:]}) == 1
    assert all(a <= b for a, b in pairwise(factors[:warmup]))
    assert factors[0] > 0  # no update is wasted


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_state_of_a_schedule_survives_json(name):
    def step(scheduler):
        scheduler.optimizer.step()
        scheduler.step(*([1.0] if name == "plateau" else []))

    args = {"patience": 1} if name == "plateau" else {}
    first = build_schedule(name, sgd(), total_steps=12, args=args)
    for _ in range(5):
        step(first)
    resumed = build_schedule(name, sgd(first.optimizer.param_groups[0]["lr"]), total_steps=12, args=args)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for _ in range(5):
        step(first)
        step(resumed)
        assert first.optimizer.param_groups[0]["lr"] == resumed.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cosin", {}, r"^schedule: expected one of constant, .*plateau, found 'cosin'\. Did you mean 'cosine'\?$"),
        ("cosine", {"total_steps": 0}, r"^total_steps: expected at least 1, found 0\.$"),
        (
            "cosine",
            {"warmup_steps": 9},
            r"^warmup_steps: expected 0 or more and fewer than the run's 9 steps, found 9\.$",
        ),
        ("cosine", {"args": {"gama": 1}}, r"^schedule 'cosine': expected final_factor, found 'gama'\.$"),
        ("constant", {"args": {"gamma": 1}}, r"^schedule 'constant': expected no arguments, found 'gamma'\.$"),
        ("step", {"args": {"gama": 1}}, r"expected gamma, step_size, found 'gama'\. Did you mean 'gamma'\?$"),
        ("step", {"args": {"step_size": 0}}, r"^schedule 'step', step_size: expected a number above 0, found 0\.$"),
        ("exponential", {"args": {"final_factor": 0.0}}, r"final_factor: expected a number above 0, found 0\.0\.$"),
        ("plateau", {"warmup_steps": 2}, r"^warmup_steps: schedule 'plateau' has none, found 2\."),
        ("plateau", {"args": {"factor": 2.0}}, r"^schedule 'plateau': Factor should be < 1\.0"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_in_one_line(name, settings, message):
    with pytest.raises(InputError, match=message) as error:
        build_schedule(name, sgd(), **{"total_steps": 9} | settings)
    assert "\n" not in str(error.value)


def test_every_schedule_says_what_it_does():
    assert set(SCHEDULES) == {*FACTORS, "plateau"}
    assert all(len(help_text) > 20 for help_text in SCHEDULES.values())
