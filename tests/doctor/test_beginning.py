"""`truestep train` watches how its runs begin: the user's own model, data and choices can be wrong too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import truestep as ts
from truestep.cli import main
from truestep.doctor import beginning, observe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 12)).astype(np.float32)
Y = (X[:, :3] @ RNG.normal(size=(3, 3))).argmax(1)
SERIES = RNG.normal(size=(400, 6, 5)).astype(np.float32)
HEAD = """\
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
"""
MODELS = {
    "softmax-before-cross-entropy": """\
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, x):
        return self.net(x).softmax(dim=1)  # here
""",
    "module-not-registered": """\
        self.layers = [nn.Linear(12, 32), nn.Linear(32, 32)]  # here
        self.out = nn.Linear(32, num_classes)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.out(x)
""",
    "parameters-never-reached": """\
        self.body, self.out = nn.Linear(12, 32), nn.Linear(32, num_classes)

    def forward(self, x):
        features = self.body(x).relu().detach()  # here
        return self.out(features)
""",
    "randomness-left-on-in-evaluation": """\
        self.body, self.out = nn.Linear(12, 32), nn.Linear(32, num_classes)

    def forward(self, x):
        return self.out(F.dropout(self.body(x).relu(), 0.5))  # here
""",
    "examples-mixed-in-batch": """\
        self.rnn, self.out = nn.LSTM(5, 16), nn.Linear(16, num_classes)

    def forward(self, x):
        states, _ = self.rnn(x)  # here
        return self.out(states[:, -1])
""",
}
RIGHT = """\
        self.body = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2))
        self.out = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.out(self.body(x))
"""


def wrapped_by_watching():
    owners = (
        torch.nn.Module, torch.optim.Optimizer, torch.utils.data.DataLoader, torch.autograd, torch.nn.utils, torch,
        torch.nn.utils.clip_grad, torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler,
    )  # fmt: skip
    functions = [{name: id(value) for name, value in vars(owner).items()} for owner in owners]
    return functions, torch.is_anomaly_enabled(), observe.Watch.current


def weights_of(run):
    return {name: value.tolist() for name, value in run.model.state_dict().items()}


@pytest.fixture
def net(tmp_path):
    def written(body):
        path = tmp_path / "net.py"
        path.write_text(HEAD + body)
        return f"{path}:Net"

    return written


@pytest.mark.parametrize("rule", MODELS)
def test_a_mistake_in_the_users_model_is_named_with_its_line(rule, net, tmp_path, capsys):
    inputs = SERIES if rule == "examples-mixed-in-batch" else X
    run = ts.train((inputs, Y), model=net(MODELS[rule]), epochs=2, out=tmp_path / "run")

    [finding] = [one for one in run.results["doctor"]["findings"] if one["severity"] != "note"]
    lines = (tmp_path / "net.py").read_text().splitlines()
    assert finding["rule"] == rule
    assert finding["line"] == next(number for number, line in enumerate(lines, 1) if line.endswith("# here"))
    assert finding["file"].endswith("net.py")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("doctor: ")]
    assert len(said) == 1
    assert rule in said[0]
    assert finding["fix"] in said[0]
    assert rule in (tmp_path / "run" / "report.html").read_text()


def test_the_summary_of_a_shell_names_it_too(net, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "arrays.npz", x=X, y=Y)
    net(MODELS["softmax-before-cross-entropy"])
    given = ["train", "arrays.npz", "--model", "net.py:Net", "--epochs", "2", "--quiet"]
    for options, times in ((["--out", "run"], 1), (["--out", "other", "--no-doctor"], 0)):
        with pytest.raises(SystemExit) as ended:
            main([*given, *options])
        assert ended.value.code == 0
        assert capsys.readouterr().err.count("net.py:12  error  softmax-before-cross-entropy") == times

    assert json.loads((tmp_path / "other" / "results.json").read_text())["doctor"] is None


@pytest.mark.parametrize("body", [RIGHT, MODELS["softmax-before-cross-entropy"]])
def test_the_run_is_the_same_to_the_bit(body, net, tmp_path):
    model = net(body)
    watched, alone = (
        ts.train((X, Y), model=model, epochs=3, out=tmp_path / str(doctor), show=False, doctor=doctor)
        for doctor in (True, False)
    )

    assert watched.results["doctor"]
    assert alone.results["doctor"] is None
    assert weights_of(watched) == weights_of(alone)
    assert watched.metrics == alone.metrics


def test_pytorch_is_as_it_was_after_the_first_evaluation(net, tmp_path, monkeypatch):
    before, seen = wrapped_by_watching(), []
    epoch_begins = beginning.Beginning.epoch_begins

    def noted(self):
        epoch_begins(self)
        seen.append(wrapped_by_watching() == before)

    monkeypatch.setattr(beginning.Beginning, "epoch_begins", noted)
    run = ts.train((X, Y), model=net(RIGHT), epochs=4, batch_size=16, out=tmp_path / "run", show=False)

    assert seen == [False, True, True, True]
    assert run.results["doctor"]["findings"] == []
    assert run.results["doctor"]["own_errors"] == {}
    assert run.results["doctor"]["steps"] < run.results["steps"] / 3


def test_in_a_long_epoch_ten_updates_are_watched(tmp_path):
    run = ts.train((X, Y), epochs=1, batch_size=2, out=tmp_path / "run", show=False)

    assert run.results["steps"] > beginning.LONGEST
    assert run.results["doctor"]["steps"] == beginning.UPDATES


def test_what_was_found_is_said_of_a_run_that_fails(net, tmp_path, capsys):
    body = MODELS["softmax-before-cross-entropy"].replace(
        "        return", "        if hasattr(self, 'calls') and self.calls == 5:\n"
        "            raise RuntimeError('my own')\n        self.calls = getattr(self, 'calls', 0) + 1\n        return",
    )  # fmt: skip
    before = wrapped_by_watching()
    with pytest.raises(RuntimeError, match="my own"):
        ts.train((X, Y), model=net(body), epochs=2, out=tmp_path / "run")

    assert wrapped_by_watching() == before
    assert "softmax-before-cross-entropy" in capsys.readouterr().err


def test_whoever_watches_already_goes_on_watching(net, tmp_path):
    with ts.doctor.watch() as report:
        run = ts.train((X, Y), model=net(MODELS["module-not-registered"]), epochs=2, out=tmp_path / "run", show=False)

    assert [one.rule for one in report.alarms] == ["module-not-registered"]
    assert run.results["doctor"] is None


def test_a_finding_that_no_page_or_terminal_may_obey_is_escaped(net, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "<script>\x1b[2J"
    folder.mkdir()
    (folder / "net.py").write_text(HEAD + MODELS["softmax-before-cross-entropy"])
    ts.train((X, Y), model=f"{folder}/net.py:Net", epochs=1, out=tmp_path / "run")

    assert "\x1b" not in capsys.readouterr().err
    assert "<script>\x1b" not in (tmp_path / "run" / "report.html").read_text()
    assert "<script>" not in (tmp_path / "run" / "report.html").read_text().partition("</style>")[2]


@pytest.mark.parametrize(
    "options",
    [
        ["digits", "--epochs", "2"],
        ["iris", "--epochs", "2", "--train.accumulate", "3"],
        ["penguins", "--epochs", "2", "--train.ema-decay", "0.9"],
        pytest.param(["speeches-text", "--max-steps", "12"], marks=pytest.mark.slow),
        ["digits", "--epochs", "1", "--optimizer", "sgd", "--optimizer.lr", "0.05", "--schedule", "plateau"],
    ],
    ids=" ".join,
)
def test_nothing_is_found_on_right_runs(options, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "truestep", "train", *options, "--out", "run"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    said = json.loads((tmp_path / "run" / "results.json").read_text())["doctor"]
    assert said["findings"] == []
    assert said["own_errors"] == {}
