"""Signals at any moment: the step is finished, all is saved, and the run goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from truestep.folder import read_metrics

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
OPTIONS = [
    "--epochs",
    "40",
    "--model",
    "mlp",
    "--model.args.dropout",
    "0.3",
    "--run.save-seconds",
    "0.05",
    "--run.log-every",
    "3",
    "--batch-size",
    "16",
]
SLOW = """
import time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 3), nn.Dropout(0.3)

    def forward(self, x):
        time.sleep(0.02 if self.training else 0.3)
        return self.layer(self.drop(x))
"""


def command(*arguments):
    return [sys.executable, "-m", "truestep", *map(str, arguments)]


def begin(folder, *arguments):
    """Start a run in a process group of its own, as a shell and a job queue do."""
    return subprocess.Popen(
        command("train", *arguments), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip


def end(process, number, *, group=True):
    (os.killpg if group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=200)
    return process.returncode, said


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)


def logs(folder):
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder / "metrics.jsonl")]
    return rows, (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(
        command("train", "iris", "--out", "run", "--quiet", *OPTIONS), cwd=folder, check=True, capture_output=True
    )
    return logs(folder / "run")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)],
    ids=["TERM", "INT", "USR1"],
)
def test_in_training_or_a_save(tmp_path, whole, number, code):
    process = begin(tmp_path, "iris", "--out", "run", *OPTIONS)
    checkpoints = tmp_path / "run" / "checkpoints"
    wait_for(lambda: checkpoints.is_dir() and any(checkpoints.glob("step-*")), process)
    found, said = end(process, number)
    assert found == code, said
    assert "Go on with: truestep train --resume run" in said
    assert "Traceback" not in said

    # The same command again goes on, too.
    again = subprocess.run(
        command("train", "iris", "--out", "run", *OPTIONS), cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "it goes on" in again.stderr
    assert logs(tmp_path / "run") == whole


def test_while_importing(tmp_path):
    process = begin(tmp_path, "iris", "--out", "run", *OPTIONS)
    time.sleep(1.0)
    found, said = end(process, signal.SIGTERM)
    assert "Traceback" not in said
    assert found in (143, -signal.SIGTERM)  # the second, if not even our first line has run
    if (tmp_path / "run").exists():
        subprocess.run(
            command("train", "iris", "--out", "run", *OPTIONS), cwd=tmp_path, check=True, capture_output=True
        )


@pytest.mark.slow  # in `pytest -m fault`
def test_in_evaluation_which_is_done_again(tmp_path):
    (tmp_path / "net.py").write_text(SLOW)
    options = ["--model", "net.py:Net", "--epochs", "3", "--quiet", "--run.log-every", "1"]
    subprocess.run(command("train", "iris", "--out", "whole", *options), cwd=tmp_path, check=True, capture_output=True)
    process = begin(tmp_path, "iris", "--out", "run", *options)
    log = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: log.exists() and log.read_text().count('"step"') == 4, process)  # the epoch's last update
    time.sleep(0.1)  # in the evaluation, which takes 0.3 s
    found, said = end(process, signal.SIGINT)
    assert found == 130, said
    subprocess.run(
        command("train", "--resume", "run", "--model", "net.py:Net", "--quiet"),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert logs(tmp_path / "run") == logs(tmp_path / "whole")


@pytest.mark.slow  # in `pytest -m fault`
def test_with_workers_which_leave_it_to_the_run(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 4)), y=np.arange(4))
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 200\n"
        "    def __getitem__(self, i): return torch.randn(4) + i % 2, i % 2\n"
        "def data(): return Data()\n"
    )
    options = ["--epochs", "6", "--data.workers", "2", "--quiet", "--run.save-seconds", "0.1"]
    subprocess.run(
        command("train", "own.py:data", "--out", "whole", *options), cwd=tmp_path, check=True, capture_output=True
    )
    process = begin(tmp_path, "own.py:data", "--out", "run", *options)
    checkpoints = tmp_path / "run" / "checkpoints"
    wait_for(lambda: checkpoints.is_dir() and any(checkpoints.glob("step-*")), process)
    found, said = end(process, signal.SIGTERM)
    assert found == 143, said
    subprocess.run(
        command("train", "own.py:data", "--resume", "run", "--quiet"), cwd=tmp_path, check=True, capture_output=True
    )
    assert logs(tmp_path / "run") == logs(tmp_path / "whole")


@pytest.mark.slow  # in `pytest -m fault`
def test_a_second_one_stops_at_once_and_a_kill_in_between_loses_nothing(tmp_path, whole):
    for second in (signal.SIGINT, signal.SIGKILL):
        folder = tmp_path / second.name
        folder.mkdir()
        process = begin(folder, "iris", "--out", "run", *OPTIONS)
        checkpoints = folder / "run" / "checkpoints"
        wait_for(lambda: checkpoints.is_dir() and any(checkpoints.glob("step-*")), process)  # noqa: B023
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.003)
        found, said = end(process, second)
        assert found in (130, -signal.SIGKILL), said
        subprocess.run(command("train", "--resume", "run", "--quiet"), cwd=folder, check=True, capture_output=True)
        assert logs(folder / "run") == whole


def test_a_run_has_its_folder_to_itself(tmp_path, whole):
    process = begin(tmp_path, "iris", "--out", "run", *OPTIONS[2:], "--epochs", "50000")
    wait_for((tmp_path / "run" / "checkpoints").is_dir, process)
    second = subprocess.run(
        command("train", "--resume", "run"), cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert second.returncode == 2
    assert f"process {process.pid} is at work on this run" in second.stderr
    found, _ = end(process, signal.SIGKILL)
    assert found == -signal.SIGKILL
    subprocess.run(
        command("train", "--resume", "run", "--max-minutes", "0.001", "--quiet"),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path, whole):
    options = [*OPTIONS[:-6], "--run.save-seconds", "1000", *OPTIONS[-4:]]
    process = begin(tmp_path, "iris", "--out", "run", *options)
    wait_for((tmp_path / "run" / "metrics.jsonl").is_file, process)
    end(process, signal.SIGKILL)
    again = subprocess.run(
        command("train", "--resume", "run"), cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "it begins anew" in again.stderr
    assert logs(tmp_path / "run") == whole
