"""NaN and infinity at every place under every policy: what is left out leaves no trace, going back has an end, a stop shows why."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import truestep as ts
from truestep.checkpoint import Checkpoints, newest_first, read_state
from truestep.device import Precision
from truestep.folder import read_metrics
from truestep.loop import train_steps
from truestep.objectives import Multiclass

pytestmark = pytest.mark.fault
CLASSES, BAD = 3, 6  # the update that goes wrong, counted from 0
PLACES = ("data", "loss", "gradient", "buffer", "optimizer", "average")
SEEN_AT_ONCE = PLACES[:4]  # of the others, the weights that they spoil tell


MARK, PLACE = 7.0, [""]  # the first number of a bad batch; what goes wrong with it


class Scaled(nn.Module):
    """Divides by a running mean that it keeps in a buffer, beside what batch norm keeps, and draws dropout."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Linear(16, CLASSES)
        self.register_buffer("mean", torch.ones(()))

    def forward(self, x):
        bad = self.training and x[0, 0] == MARK
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().abs().mean())
        if bad and PLACE == ["buffer"]:
            self.mean.fill_(math.inf)
        h = self.norm(self.first(x * (self.mean / self.mean))).relu()
        if bad and PLACE == ["gradient"]:  # of a square root at 0, in one number of one weight
            one = self.first.weight[0, 0]
            h = h + (one - one.detach()).abs().sqrt()
        return self.last(nn.functional.dropout(h, 0.5, training=self.training))


class Task(Multiclass):
    def loss_sum(self, outputs, targets):
        loss = super().loss_sum(outputs, targets)
        return loss * math.nan if PLACE == ["loss"] and int(targets[0]) == 1 else loss


def batches(bad=(BAD,), count=12):
    generator = torch.Generator().manual_seed(1)
    made = [(torch.randn(8, 4, generator=generator), torch.arange(8) % CLASSES) for _ in range(count)]
    for number in bad:
        made[number][0][0, 0], made[number][1][0] = MARK, 1
        if PLACE == ["data"]:
            made[number][0][3, 2] = math.inf
    return made


class Watched:
    """Batches that remember the state ahead of each, and spoil the optimizer or the average ahead of the bad one, once."""

    def __init__(self, parts, bad=(BAD,)):
        self.parts, self.bad, self.states, self.spoilt = parts, bad, [], 0

    def __iter__(self):
        for number, batch in enumerate(batches(self.bad)):
            self.states.append(state_of(self.parts))
            if number in self.bad and (not self.spoilt or len(self.bad) > 1):
                self.spoilt += 1
                if PLACE == ["optimizer"]:
                    self.parts["optimizer"].state[self.parts["model"].last.weight]["exp_avg"].view(-1)[1] = math.nan
                if PLACE == ["average"]:
                    self.parts["ema"].module.last.weight.data.view(-1)[1] = math.inf
            yield batch

    def __len__(self):
        return 12


def state_of(parts):
    """Return copies of all that a step changes."""
    states = {name: copied(part.state_dict()) for name, part in parts.items()}
    return states | {"drawn": torch.get_rng_state()}


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def equal(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def made(place):
    PLACE[:] = [place]
    torch.manual_seed(0)
    model = Scaled().train()
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("place", PLACES)
def test_skip(place, precision):
    model, optimizer = made(place)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    parts = {"model": model, "optimizer": optimizer, "ema": ema, "schedule": schedule}
    train = Watched(parts)
    number = Precision.of(precision)
    number.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=precision == "fp16")

    def steps():
        options = {"scheduler": schedule, "ema": ema, "precision": number, "on_nonfinite": "skip"}
        return list(train_steps(model, train, Task(CLASSES), optimizer, **options))

    if place == "optimizer":  # it spoils the weights, which no batch mends
        with pytest.raises(ts.NonFiniteError, match=r"the weights 'last\.weight' are not finite"):
            steps()
        return
    found = steps()
    if place == "average":  # no step computes with it
        assert not any(step.skipped for step in found)
        return
    assert [step.skipped for step in found] == [number == BAD for number in range(12)]
    assert equal(train.states[BAD + 1], train.states[BAD])
    assert not equal(train.states[BAD + 2], train.states[BAD])
    assert all(value.isfinite().all() for value in [*model.state_dict().values(), *ema.state_dict().values()])


def fitted(place, precision, policy, folder, monkeypatch, bad=(BAD,)):
    """Return the fitted model, what was found, and the batches with the states ahead of them; or the error as the second."""
    model, optimizer = made(place)
    parts = {"model": model, "optimizer": optimizer}
    train = Watched(parts, bad)

    def average(*arguments, **options):
        parts["ema"] = AveragedModel(*arguments, **options)
        return parts["ema"]

    monkeypatch.setattr("truestep.loop.AveragedModel", average)
    monkeypatch.setattr(Checkpoints, "busy", False)  # none is left out because the one before it is still being written
    monkeypatch.setattr(
        "truestep.device.GradScaler.__init__.__defaults__",
        ("cuda", 16.0 if policy == "stop" else 1024.0, 2.0, 0.5, 2000, True),
    )
    try:
        found = ts.fit(
            model, train, batches((), 2), Task(CLASSES), optimizer, epochs=1, folder=folder, precision=precision,
            on_nonfinite=policy, save_steps=1, log_every=1, ema_decay=0.9, show=False,
        )  # fmt: skip
    except ts.NonFiniteError as error:
        found = error
    return model, found, train


def newest_is_finite(folder) -> bool:
    content = read_state(newest_first(folder / "checkpoints")[0])
    return all(
        value.isfinite().all()
        for part in ("model", "ema")
        for value in content[part].values()
        if value.is_floating_point()
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("place", PLACES)
def test_rollback(tmp_path, monkeypatch, place, precision):
    overflow = (place, precision) == ("gradient", "fp16")  # which float16 has now and then, and leaves out
    model, found, _ = fitted(place, precision, "rollback", tmp_path / "once", monkeypatch)
    assert (found.progress.rollbacks, found.progress.skipped) == ((0, 1) if overflow else (1, 0))
    assert found.progress.step == 11
    assert all(value.isfinite().all() for value in model.state_dict().values())

    folder = tmp_path / "again and again"
    _, found, _ = fitted(place, precision, "rollback", folder, monkeypatch, bad=range(BAD, 12))
    assert isinstance(found, ts.NonFiniteError) or overflow, found  # six times is not yet below a scale of 1
    assert sum(row["kind"] == "rollback" for row in read_metrics(folder / "metrics.jsonl")) == (0 if overflow else 3)
    assert newest_is_finite(folder)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("place", PLACES)
def test_stop(tmp_path, monkeypatch, place, precision):
    bad = range(BAD, 12) if (place, precision) == ("gradient", "fp16") else (BAD,)
    model, found, train = fitted(place, precision, "stop", tmp_path, monkeypatch, bad)
    assert isinstance(found, ts.NonFiniteError), found
    assert newest_is_finite(tmp_path)
    if place not in SEEN_AT_ONCE:
        assert "the weights are not finite" in str(found) or "average of the weights" in str(found)
        return
    before = train.states[-1]["model"]
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())

    dump = read_state(tmp_path / "nonfinite")
    again = Scaled()
    again.load_state_dict(dump["model"])
    torch.set_rng_state(dump["drawn"][0])
    ((inputs, targets),) = dump["batches"]
    with Precision.of(precision).autocast():
        loss = Task(CLASSES).loss_sum(again(inputs), targets)
    loss.backward()
    gradients = [parameter.grad for parameter in again.parameters()]
    assert loss.isfinite() == (place == "gradient")
    assert not all(gradient.isfinite().all() for gradient in gradients)
    assert str(found) == dump["error"]

    PLACE[:] = [""]  # and not without what went wrong
    if place != "data":
        again.load_state_dict(before)
        assert Task(CLASSES).loss_sum(again(inputs), targets).isfinite()
