"""The programs in examples/ reach what they are there to show, and the doctor finds nothing in them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from script_server import ScriptServer

EXAMPLES = Path(__file__).parent.parent / "examples"
REACHED = {  # the figures that a program prints at its end, and what they have to be, with room for another machine
    "linear_regression": {"rmse": (40, 57), "r2": (0.5, 0.65)},  # scikit-learn's least squares: 53.6 and 0.554
    "digits_cnn": {"accuracy": (0.9, 1), "f1": (0.9, 1)},
    "accumulation": {"gap": (0, 1e-14), "accuracy": (0.94, 1)},
    "train_validate": {"valid_loss": (0, 0.15), "valid_accuracy": (0.93, 1)},
    "save_and_load": {"same": (1, 1), "accuracy": (0.92, 1)},
    "gan": {"classes": (9, 10), "mean_gap": (0, 0.2), "nearest": (0.3, 0.65)},  # noise: a gap of 0.6, and 1.2
    "vae": {"test_loss": (20, 25.3), "average_loss": (26, 28)},
    "reinforce": {"steps": (180, 200)},  # a policy of chance: 20
    "distillation": {"teacher": (0.89, 1), "alone": (0.6, 0.84), "student": (0.86, 1)},
    "contrastive": {"before": (0.75, 0.86), "after": (0.87, 1)},
    "frozen_backbone": {"backbone_unchanged": (1, 1), "accuracy": (0.87, 1)},
}
IN_OTHER_TRAINERS = {
    "lightning_metrics": ("lightning", {"valid_loss": (0, 0.5), "accuracy": (0.86, 1)}),
    "accelerate_metrics": ("accelerate", {"accuracy": (0.86, 1)}),
    "trainer_metrics": ("transformers", {"accuracy": (0.86, 1), "roc_auc": (0.97, 1)}),
}


@pytest.fixture(scope="module")
def server():
    server = ScriptServer()
    yield server
    server.close()


def check_reached(output, reached):
    figures = dict(re.findall(r"^(\w+) (-?[\d.]+(?:e-?\d+)?)$", output, re.MULTILINE))
    for name, (least, most) in reached.items():
        assert least <= float(figures[name]) <= most, f"{name} {figures[name]}"


SLOW = {"gan", "vae", "contrastive", "distillation", "train_validate"}  # some ten seconds each


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in REACHED])
def test_an_example_reaches_what_it_shows(name, server):
    ended = server.run(EXAMPLES / f"{name}.py", [], doctor=True)

    assert ended["exit_code"] == 0, ended["errors"]
    check_reached(ended["output"], REACHED[name])
    assert ended["findings"] == []
    assert ended["own_errors"] == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", IN_OTHER_TRAINERS)
def test_metrics_work_in_other_trainers(name, tmp_path):
    needed, reached = IN_OTHER_TRAINERS[name]
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    report = tmp_path / "report.json"
    ended = subprocess.run(
        [sys.executable, "-m", "truestep", "doctor", "--format", "json", "--out", report, EXAMPLES / f"{name}.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = json.loads(report.read_text())

    assert ended.returncode == 0, ended.stderr
    check_reached(ended.stdout + ended.stderr, reached)
    assert said["findings"] == []
    assert said["own_errors"] == {}


def test_every_example_is_tested_and_in_the_index():
    programs = {path.stem for path in EXAMPLES.glob("*.py")}
    folders = {f"{path.name}/" for path in EXAMPLES.iterdir() if (path / "recipe.toml").exists()}
    index = re.findall(r"^\| \[([\w/.]+)\]\(([\w.]+)\) \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)

    assert programs == set(REACHED) | set(IN_OTHER_TRAINERS)
    assert {text for text, _ in index} == {f"{name}.py" for name in programs} | folders
    assert all((EXAMPLES / place).exists() for _, place in index)
