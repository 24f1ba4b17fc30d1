"""The primitives in loops of one's own: each snippet of docs/own-loop.md runs, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sklearn_metrics
from torch import nn

import truestep as ts
from truestep.errors import InputError

PAGE = (Path(__file__).parent.parent / "docs" / "own-loop.md").read_text()
BEGIN = re.search(r"<!-- begin -->\n```python\n(.*?)```", PAGE, re.DOTALL)[1]
SNIPPETS = dict(re.findall(r"^## ([\w ]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


def begun():
    names = {}
    exec(BEGIN, names)
    return names


def ran(title, **names):
    """The names after the snippet of a section; those given stand in for what the page begins with."""
    names = begun() | names
    exec(SNIPPETS[title], names)
    return names


def weights(names):
    return torch.cat([weight.detach().flatten() for weight in names["model"].parameters()])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_section_has_a_snippet_that_is_tested():
    told = set(re.findall(r"^## (.*)$", PAGE, re.MULTILINE)) - {"In other trainers"}
    tested = set(re.findall(r'ran\(\s*"([\w ]+)"', Path(__file__).read_text()))

    assert told == set(SNIPPETS) == tested


def test_the_step_is_the_one_of_a_plain_loop():
    plain = begun()
    model, optimizer = plain["model"], plain["optimizer"]
    model.train()
    batches = list(plain["train"].epoch(0))
    for start in range(0, len(batches), 2):
        group = batches[start : start + 2]
        optimizer.zero_grad()
        for x, y in group:
            (F.cross_entropy(model(x), y, reduction="sum") / sum(len(y) for _, y in group)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    assert torch.equal(weights(ran("The step")), weights(plain))


def test_an_epoch_is_a_function_of_its_number():
    names = ran("Batches")
    order = np.random.default_rng([0, 2]).permutation(1000)

    assert torch.equal(names["batch_inputs"], names["inputs"][order[-8:]])  # 1,000 is 31 * 32 + 8
    whole, late = list(names["train"].epoch(2)), list(names["train"].epoch(2, start=10))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[10:], late, strict=True))


def test_accumulation_gives_the_gradient_of_the_big_batch():
    names = begun()
    model, x, y = names["model"].double().eval(), names["inputs"].double()[:103], names["targets"][:103]
    ragged = ts.Batches((x, y), batch_size=8)  # the last update has 5 batches, the last batch 7 examples
    for batches, count in ts.accumulated(ragged, 8):
        model.zero_grad()
        for one, other in batches:
            (F.cross_entropy(model(one), other, reduction="sum") / count).backward()
    found = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    model.zero_grad()
    F.cross_entropy(model(x[64:]), y[64:]).backward()
    expected = torch.cat([weight.grad.flatten() for weight in model.parameters()])

    assert [len(batches) for batches, _ in ts.accumulated(ragged, 8)] == [8, 5]
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_accumulation_counts_tokens_and_weights_of_classes():
    targets = torch.tensor([[1, -100], [2, 3]])
    assert next(ts.accumulated([(targets, targets)], 4, ts.NextToken(5).count))[1] == 3
    labels = torch.tensor([0, 1, 1])
    assert next(ts.accumulated([(labels, labels)], 4, ts.Multiclass(2, (2.0, 0.5)).count))[1] == 3


def test_the_accumulation_of_the_page_is_that_of_the_step():
    found = ran("Exact accumulation")
    plain = begun()
    plain["model"].train()
    for _ in ts.train_steps(
        plain["model"], plain["train"].epoch(0), plain["objective"], plain["optimizer"], accumulate=4
    ):
        pass

    assert torch.equal(weights(found), weights(plain))


def test_a_running_mean_is_that_of_all_examples():
    model = begun()["model"].eval()
    names = ran("Running means", model=model)
    whole = F.cross_entropy(model(names["inputs"][:1000]), names["targets"][:1000]).item()

    assert names["mean"].compute() == pytest.approx(whole, rel=1e-6)


def test_evaluation_is_that_of_all_rows_and_changes_nothing():
    begun()
    state = torch.get_rng_state()
    names = ran("Evaluation")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in names["model"].modules())
    x, y = names["valid"]
    outputs = names["model"].eval()(x)

    assert names["figures"]["loss"] == pytest.approx(F.cross_entropy(outputs, y).item(), rel=1e-6)
    assert names["figures"]["f1"] == pytest.approx(
        sklearn_metrics.f1_score(y, outputs.argmax(1), average="macro"), abs=1e-6
    )


def test_metrics_are_those_of_scikit_learn():
    names = ran("Metrics")
    x, y = names["valid"]
    probabilities = names["model"](x).softmax(1).detach()

    assert names["metrics"].compute()["roc_auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(y, probabilities.double(), multi_class="ovr", average="macro"), abs=1e-6
    )
    assert names["metrics"].compute()["accuracy"] == sklearn_metrics.accuracy_score(y, probabilities.argmax(1))


def test_early_stopping_leaves_the_best_weights():
    names = begun()
    names["valid"] = tuple(part[:60] for part in names["valid"])
    names["optimizer"].param_groups[0]["lr"] = 0.05  # soon too well known
    names = ran("Early stopping", **{name: names[name] for name in ("valid", "model", "optimizer")})
    best, found = names["best"], ts.evaluate(names["model"], names["valid"], names["objective"])

    assert names["epoch"] == best.epoch + 3 < 99
    assert found["loss"] == best.value


def test_a_number_of_ones_own_can_be_best():
    best, model = ts.Best("reward", higher=True), torch.nn.Linear(1, 1)
    assert [best.update({"reward": value}, epoch, model) for epoch, value in enumerate([1.0, 3.0, 2.0])] == [
        True,
        True,
        False,
    ]
    with pytest.raises(InputError, match="expected one of"):
        ts.Best("reward")
    with pytest.raises(InputError, match=r"monitor: expected one of loss, found 'reward'\."):
        best.update({"loss": 1.0}, 3, model)


class Stopped(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("steps", [7, 20, 33, 95])
def test_a_loop_of_ones_own_goes_on_to_the_same_bits(steps, tmp_path, monkeypatch):
    def stopping(module, inputs):
        stopping.calls += 1
        if stopping.calls > steps:
            raise Stopped

    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    whole = ran("Saving and resuming")
    (tmp_path / "stopped").mkdir()
    monkeypatch.chdir(tmp_path / "stopped")
    names, stopping.calls = begun(), 0
    names["model"].register_forward_pre_hook(stopping)
    with pytest.raises(Stopped):
        ran("Saving and resuming", model=names["model"], optimizer=names["optimizer"])
    torch.rand(3)  # a new process draws from elsewhere
    resumed = ran("Saving and resuming")

    assert torch.equal(weights(resumed), weights(whole))
    assert resumed["scheduler"].state_dict() == whole["scheduler"].state_dict()
    moments = [
        [state["exp_avg_sq"] for state in names["optimizer"].state_dict()["state"].values()]
        for names in (whole, resumed)
    ]
    assert all(torch.equal(one, other) for one, other in zip(*moments, strict=True))
    assert resumed["step"] == 160


def test_a_checkpoint_says_at_which_step_it_is():
    checkpoints = ts.Checkpoints("runs", {"model": torch.nn.Linear(1, 1)})
    assert checkpoints.restore({"step": 0}) == {"step": 0}
    with pytest.raises(InputError, match=r"progress: expected a whole number 'step'"):
        checkpoints.save({"epoch": 1})
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        checkpoints.restore()


def test_progress_is_shown_and_changes_nothing(capsys):
    shown = ran("Progress")
    plain = begun()
    for epoch in range(3):
        plain["model"].train()
        for _ in ts.train_steps(plain["model"], plain["train"].epoch(epoch), plain["objective"], plain["optimizer"]):
            pass
    lines = capsys.readouterr().err.splitlines()

    assert torch.equal(weights(shown), weights(plain))
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "valid_accuracy", "time"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]
    assert float(lines[3].split()[3]) == pytest.approx(shown["figures"]["accuracy"], abs=1e-4)


def test_what_shows_progress_also_makes_some_when_the_page_is_read_from_its_top():
    names = ran("Saving and resuming")
    before = weights(names)
    exec(SNIPPETS["Progress"], names)

    assert not torch.equal(weights(names), before)


def test_a_bar_follows_the_batches(monkeypatch, capsys):
    display = ts.Display(2, [1, 2, 3])
    places = []
    with display:
        display.due = 0.0  # as on a terminal
        monkeypatch.setattr(display, "advance", lambda place: places.append((place.epoch, place.batch)))
        assert list(display.follow([1, 2, 3], epoch=1, start=4)) == [1, 2, 3]

    assert places == [(1, 5), (1, 6), (1, 7)]


def test_mixed_precision_is_that_of_the_step():
    found = ran("Mixed precision")
    plain = begun()
    plain["model"].train()
    for _ in ts.train_steps(
        plain["model"], plain["train"].epoch(0), plain["objective"], plain["optimizer"], precision="bf16"
    ):
        pass

    assert torch.allclose(weights(found), weights(plain), atol=1e-6)


def test_optimizer_and_schedule_are_those_of_pytorch():
    names = ran("Optimizers and schedules")

    assert [group["weight_decay"] for group in names["optimizer"].param_groups] == [0.1, 0.0]
    assert isinstance(names["optimizer"], torch.optim.AdamW)
    assert names["optimizer"].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda: ts.RunningMean().add(torch.ones(3)), "value: expected one number"),
        (lambda: ts.RunningMean().add(1.0, -1), "weight: expected a number of at least 0"),
        (lambda: next(ts.accumulated([], 0)), "accumulate: expected at least 1 batch, found 0"),
        (lambda: next(ts.Batches(torch.ones(4), 2).epoch(0, start=-1)), "start: expected a whole number from 0 on"),
        (lambda: next(ts.Batches(torch.ones(4), 2).epoch(1.5)), "epoch: expected a whole number from 0 on"),
        (
            lambda: ts.evaluate(nn.Linear(1, 2), [], nn.CrossEntropyLoss()),
            "objective: expected one such as ts.Multiclass",
        ),
        (
            lambda: ts.evaluate(nn.Linear(1, 2), [], F.cross_entropy),
            "found cross_entropy, which takes outputs and targets",
        ),
        (lambda: ts.build_optimizer("adam", nn.Linear(1, 2).parameters()), "model: expected the model itself"),
        (lambda: ts.build_optimizer("adam", nn.Linear(1, 2), lr="x"), "lr: expected a number, found 'x'"),
        (lambda: ts.Checkpoints("nowhere", nn.Linear(1, 2)), "parts: expected them by name"),
        (lambda: ts.Checkpoints("nowhere", {"a": 3}), "parts: expected what has a state_dict, found int as 'a'"),
    ],
)
def test_what_people_mistake_is_said(act, says):
    with pytest.raises(ts.InputError, match=says.replace(".", r"\.")):
        act()


def test_numbers_that_were_read_already_have_a_mean_too():
    mean = ts.RunningMean()
    mean.add(2.0, weight=3)
    mean.add(torch.tensor(6.0), weight=1)
    assert mean.compute() == 3.0


def test_the_same_program_begins_and_goes_on(tmp_path):
    def run(folder, stop_at=None):
        torch.manual_seed(0)
        model, calls = nn.Linear(3, 2), iter(range(1, 100))
        data = (torch.randn(40, 3, generator=torch.Generator().manual_seed(1)), torch.arange(40) % 2)
        optimizer = ts.build_optimizer("adamw", model)

        def stop():
            return ts.Interrupted("asked to", 130) if next(calls) == stop_at else None

        ts.fit(
            model, ts.Batches(data, 8, shuffle=True), None, ts.Multiclass(2), optimizer, epochs=3, folder=folder,
            resume="auto", show=False, stop=stop,
        )  # fmt: skip
        return model

    whole = run(tmp_path / "whole")
    with pytest.raises(ts.Interrupted):
        run(tmp_path / "stopped", stop_at=7)
    again = run(tmp_path / "stopped")
    assert torch.equal(whole.weight, again.weight)
