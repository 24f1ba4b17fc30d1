"""What every optimizer and every schedule of PyTorch remembers comes back from a checkpoint as it was: it goes on to the same bits."""

from __future__ import annotations

import inspect
import json
import warnings
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import SWALR

from truestep import checkpoint, disk

pytestmark = pytest.mark.fault
BEFORE, AFTER = 4, 6  # steps

OPTIMIZERS = {
    kind.__name__: kind
    for _, kind in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(kind, Optimizer) and kind is not Optimizer
}
OPTIONS = {  # beside those of the class alone
    "SGD": {"momentum": 0.9, "nesterov": True},
    "Adam": {"amsgrad": True},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "LBFGS": {"max_iter": 3},
}
SCHEDULES = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, [lambda step: 1 / (step + 1)] * len(o.param_groups)),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, [lambda _: 0.9] * len(o.param_groups)),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 8, 8]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, total_iters=7),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=8),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 9, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 9),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 1e-4, 1e-2, 3, cycle_momentum=False),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, BEFORE + AFTER + 1, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o, patience=1),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.LinearLR(o, total_iters=8)]
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, total_iters=3), lr_scheduler.CosineAnnealingLR(o, 9)], [3]
    ),
    "SWALR": lambda o: SWALR(o, 0.001, anneal_epochs=7),
    "none": lambda _: None,
}


def test_none_is_forgotten():
    known = {
        name
        for name, kind in inspect.getmembers(lr_scheduler, inspect.isclass)
        if issubclass(kind, LRScheduler) and kind is not LRScheduler and not name.startswith("_")
    }
    assert known - {"LRScheduler"} <= SCHEDULES.keys()
    assert len(OPTIMIZERS) >= 14


class Run:
    """A model of matrices only, for Muon; of an embedding with sparse gradients, for the optimizer that wants them."""

    def __init__(self, optimizer, schedule):
        torch.manual_seed(0)
        is_sparse = optimizer == "SparseAdam"
        self.model = nn.Embedding(8, 3, sparse=True) if is_sparse else nn.Sequential(
            nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False)
        )  # fmt: skip
        parameters = list(self.model.parameters())
        lr = torch.tensor(0.01) if optimizer == "AdamW" else 0.01  # all groups share the tensor
        options = {"lr": lr} | OPTIONS.get(optimizer, {})
        groups = parameters if optimizer in ("LBFGS", "SparseAdam") else [{"params": [p]} for p in parameters]
        self.optimizer = OPTIMIZERS[optimizer](groups, **options)
        self.schedule = SCHEDULES[schedule](self.optimizer)
        self.inputs = torch.randint(8, (6,)) if is_sparse else torch.randn(6, 3)
        self.steps = 0

    def go(self, steps):
        for _ in range(steps):
            self.steps += 1

            def loss():
                self.optimizer.zero_grad()
                found = ((self.model(self.inputs) - self.steps) ** 2).mean()
                found.backward()
                return found

            found = self.optimizer.step(loss)
            if isinstance(self.schedule, ReduceLROnPlateau):
                self.schedule.step(2.0 if self.steps > 2 else float(found))
            elif self.schedule is not None:
                self.schedule.step()

    def state(self):
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])


def same(one, other) -> bool:
    """Whether two states are equal, to the bit and in their types."""
    if type(one) is not type(other) and not isinstance(one, dict):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_pair_goes_on_to_the_same_bits(tmp_path, monkeypatch, optimizer):
    for name in ("flush", "flush_folder"):
        monkeypatch.setattr(disk, name, lambda _: None)  # a power cut is another test's
    for schedule in SCHEDULES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR and Muon have things to say of their own doing
            whole = Run(optimizer, schedule)
            whole.go(BEFORE)
            checkpoint.write_state(tmp_path / "state", whole.state())
            whole.go(AFTER)
            resumed = Run(optimizer, schedule)
            state = checkpoint.read_state(tmp_path / "state")
            resumed.load(deepcopy(state))  # CyclicLR takes some of it away
            resumed.steps = BEFORE
            assert same(resumed.state(), state), f"{schedule}: not as it was"
            resumed.go(AFTER)
        assert same(whole.state(), resumed.state()), f"{schedule}: other bits"


def test_through_plain_json_they_would_not(tmp_path):
    """The check can fail: what JSON changes in silence is found."""
    run = Run("SGD", "MultiStepLR")
    run.go(BEFORE)
    state = run.schedule.state_dict()
    assert not same(json.loads(json.dumps(state)), state)
    other = Run("SGD", "MultiStepLR")
    other.load(run.state() | {"schedule": json.loads(json.dumps(state))})
    other.steps = BEFORE
    run.go(AFTER)
    other.go(AFTER)
    assert run.optimizer.param_groups[0]["lr"] != other.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("thing", [object(), {1, 2}, b"bytes", len, torch.nn.Linear(1, 1), 1 + 2j])
def test_what_can_not_be_held_is_refused(tmp_path, thing):
    with pytest.raises(TypeError, match=f"a checkpoint can't hold a {type(thing).__name__}"):
        checkpoint.write_state(tmp_path / "state", {"part": {"it": [thing]}})
    assert not list(tmp_path.iterdir())
