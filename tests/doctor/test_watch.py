"""`ts.doctor.watch()` around any code, in notebooks and in tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import truestep as ts
from torch import nn
from torch.nn import functional as F


def train(steps=6):
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
        loss.backward()
        optimizer.step()


def test_what_happens_inside_is_watched():
    with ts.doctor.watch() as report:
        train()

    [finding] = report.alarms
    assert finding.rule == "gradients-not-cleared"
    assert finding.site.file == __file__
    assert "gradients-not-cleared" in str(report)


def test_pytorch_is_as_it_was_afterwards():
    def state():
        owners = (
            nn.Module, torch.optim.Optimizer, torch.utils.data.DataLoader, torch.autograd, torch.nn.utils, torch,
            torch.nn.utils.clip_grad, torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler,
        )  # fmt: skip
        return [{name: id(value) for name, value in vars(owner).items()} for owner in owners] + [
            torch.is_anomaly_enabled()
        ]

    train()  # torch imports the rest of itself
    before = state()
    with pytest.raises(KeyError), ts.doctor.watch():
        train()
        raise KeyError

    assert state() == before


def test_the_report_is_there_after_an_exception_too():
    with pytest.raises(ZeroDivisionError), ts.doctor.watch() as report:
        train()
        raise ZeroDivisionError

    assert [one.rule for one in report.alarms] == ["gradients-not-cleared"]


def test_the_page_of_a_notebook_escapes_what_is_code():
    with ts.doctor.watch() as report:
        train()
    report.findings[0].message = "<script>"

    assert "<script>" not in report._repr_html_()


def test_the_magic_of_notebooks_watches_a_cell():
    class Shell:
        def register_magic_function(self, function, magic_kind, magic_name):
            self.magic = (function, magic_kind, magic_name)

        def run_cell(self, cell):
            exec(cell, {"train": train})  # noqa: S102

    shell = Shell()
    ts.doctor.load_ipython_extension(shell)
    function, kind, name = shell.magic

    assert (kind, name) == ("cell", "doctor")
    assert [one.rule for one in function("", "train()").alarms] == ["gradients-not-cleared"]


def test_a_test_that_takes_the_fixture_fails_with_the_finding(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"
        "def train(clear):\n    model = nn.Linear(4, 3)\n    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    for _ in range(6):\n        if clear:\n            optimizer.zero_grad()\n"
        "        F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))).backward()\n        optimizer.step()\n\n\n"
        "def test_right(doctor):\n    train(True)\n\n\ndef test_wrong(doctor):\n    train(False)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--override-ini=addopts="],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "1 error" in ended.stdout
    assert "2 passed" in ended.stdout
    assert "gradients-not-cleared" in ended.stdout
