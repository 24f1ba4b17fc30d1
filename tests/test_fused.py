"""Our Adam and AdamW do what PyTorch's do, to the bit, and hooks, profilers and compilers find what they look for."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from truestep.fused import FusedAdam, FusedAdamW, averaging, scale_down, total_norm

PAIRS = [(FusedAdam, torch.optim.Adam), (FusedAdamW, torch.optim.AdamW)]
INPUTS, TARGETS = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def made(kind, model, **options):
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1, "lr": 0.02},
        {"params": [p for p in model.parameters() if p.ndim < 2]},
    ]
    return kind(groups, lr=0.01, fused=True, **options)


def trained(kind, steps=20, optimizer=None, model=None, **options):
    model = model or network()
    optimizer = optimizer or made(kind, model, **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        model[0].requires_grad_(step not in (0, 1, 7))  # frozen at first, and in between
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(INPUTS), TARGETS).backward()
        optimizer.step()
        scheduler.step()
    return model, optimizer


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("options", [{}, {"maximize": True}, {"amsgrad": True}, {"betas": (0.5, 0.9), "eps": 1e-3}])
def test_the_weights_are_those_of_pytorch(ours, theirs, options):
    assert same(trained(ours, **options)[0], trained(theirs, **options)[0])
    assert not same(trained(ours, **options)[0], trained(ours, steps=19, **options)[0])


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("back", [False, True])
def test_the_state_goes_over_and_back(ours, theirs, back):
    first, second = (theirs, ours) if back else (ours, theirs)
    model, optimizer = trained(first)
    assert type(optimizer.state_dict()["state"][0]["step"]) is torch.Tensor
    taken = made(second, model)
    taken.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    ended = trained(second, optimizer=taken, model=model)[0]

    model, optimizer = trained(theirs)
    taken = made(theirs, model)
    taken.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert same(ended, trained(theirs, optimizer=taken, model=model)[0])


def test_a_closure_and_a_scaler_are_heeded():
    def ended(kind, scaler):
        model = network()
        optimizer = made(kind, model)

        def loss():
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(INPUTS), TARGETS)
            (scaler.scale(value) if scaler else value).backward()
            return value

        for _ in range(3):
            if scaler:
                loss()
                scaler.step(optimizer)
                scaler.update()
            else:
                assert optimizer.step(loss) > 0
        return model

    for scaling in (False, True):
        models = [ended(kind, torch.amp.GradScaler("cpu", init_scale=8.0) if scaling else None) for kind in PAIRS[1]]
        assert same(*models)


def test_gradients_that_are_kept_are_zeroed():
    model = network()
    optimizer = made(FusedAdamW, model)
    model(INPUTS).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_sparse_gradients_are_refused_as_by_pytorch():
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = FusedAdamW(table.parameters(), fused=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step()


@pytest.mark.parametrize("where", ["global", "own"])
def test_hooks_are_called_once_a_step_and_change_no_bit(where):
    called = []
    model = network()
    optimizer = made(FusedAdamW, model)
    made(torch.optim.AdamW, network())  # PyTorch wraps a class's step when it makes the first of it
    before, after = (lambda *_: called.append("before")), (lambda *_: called.append("after"))
    if where == "global":
        handles = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    else:
        handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    try:
        watched = trained(FusedAdamW, 3, optimizer, model)[0]
    finally:
        for handle in handles:
            handle.remove()
    assert called == ["before", "after"] * 3
    assert same(watched, trained(torch.optim.AdamW, 3)[0])


def test_a_profiler_sees_the_step():
    model = network()
    optimizer = made(FusedAdamW, model)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trained(FusedAdamW, 2, optimizer, model)
    assert [event.count for event in profile.key_averages() if event.key.startswith("Optimizer.step")] == [2]


@pytest.mark.parametrize(
    "kinds", [[torch.float32] * 4, [torch.float64] * 4, [torch.float32, torch.float64, torch.bfloat16]]
)
@pytest.mark.parametrize("max_norm", [0.3, 1e9])
def test_norms_and_clipping_are_those_of_pytorch(kinds, max_norm):
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(7, n + 1, dtype=kind)) for n, kind in enumerate(kinds)]
    ours, theirs = [], []
    for parameter in parameters:
        value = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        parameter.grad = value.clone()
        ours.append(value), theirs.append(parameter.grad)
    norm = nn.utils.get_total_norm(theirs)
    assert torch.equal(total_norm(ours), norm)

    nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    scale_down(ours, max_norm, norm)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_norm_of_nothing_is_none():
    assert float(total_norm([])) == 0


SPARED = """
import sys, torch, truestep as ts
model = torch.nn.Linear(3, 1)
optimizer = ts.build_optimizer("adamw", model)
ts.fit(model, ts.Batches((torch.randn(8, 3), torch.randn(8, 1)), 4), None, ts.Regression(), optimizer, epochs=2, show=False)
optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules, "the compiler was imported"

import torch._dynamo
method = torch.optim.Optimizer.add_param_group
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(2))]})
assert getattr(method.__wrapped__, "__dynamo_disable").__module__.startswith("torch"), "not as PyTorch has it"

step = torch.compile(lambda: optimizer.step(), backend="eager")
model(torch.randn(2, 3)).sum().backward()
before = model.weight.detach().clone()
step()
assert not torch.equal(before, model.weight)
print("fine")
"""


def test_the_compiler_is_not_imported_unless_somebody_compiles():
    end = subprocess.run([sys.executable, "-c", SPARED], capture_output=True, text=True, check=False)
    assert end.stdout == "fine\n", end.stderr


class Replacing(nn.Module):
    """Puts another tensor in the place of its buffer, as some models do."""

    def __init__(self):
        super().__init__()
        self.inside = network()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        return self.inside(x)


AVERAGES = {
    "exponential": lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    "of buffers too": lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
    "equal weights": AveragedModel,
    "a function of one's own": lambda model: AveragedModel(
        model, avg_fn=lambda mean, new, n: mean + (new - mean) / (n + 2)
    ),
}


@pytest.mark.parametrize("kind", AVERAGES)
@pytest.mark.parametrize("build", [network, lambda: nn.Linear(5, 3), Replacing, lambda: network().double()])
def test_an_average_is_that_of_pytorch(kind, build):
    """Epoch after epoch, with parameters, buffers and the count of updates."""
    torch.manual_seed(1)
    model = build()
    inputs = INPUTS.to(next(model.parameters()).dtype)
    ours, theirs = AVERAGES[kind](model), AVERAGES[kind](model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        update = averaging(ours, model)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), TARGETS).backward()
            optimizer.step()
            update()
            theirs.update_parameters(model)
            expected = theirs.state_dict()
            assert ours.state_dict().keys() == expected.keys()
            assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
        assert int(ours.n_averaged) == 3 * (epoch + 1)
    assert not torch.equal(next(ours.module.parameters()), next(model.parameters()))
