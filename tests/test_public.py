"""The public names, and what the README says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import truestep as ts

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(name):
    return re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)[1]


def test_every_public_name_is_there_and_said_to_type_checkers():
    assert sorted(set(ts.__all__)) == sorted(ts.__all__)
    for name in ts.__all__:
        assert getattr(ts, name) is not None
    typed = set(re.findall(r"import \w+ as (\w+)$", Path(ts.__file__).read_text(), re.MULTILINE))
    assert typed == set(ts.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        ts.trian  # noqa: B018


def test_a_function_is_not_hidden_by_a_module_of_its_name():
    probe = "import truestep as ts; ts.fit, ts.Run; assert callable(ts.evaluate) and callable(ts.predict) and callable(ts.train)"
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_a_loop_of_ones_own_imports_little_besides_pytorch():
    """Counted in modules, not in seconds. Whole runs need more: files, images, a page."""
    probe = """
import sys, torch
before = set(sys.modules)
import truestep as ts
assert set(sys.modules) - before == {"truestep"}
ts.fit, ts.train_steps, ts.evaluate, ts.Batches, ts.Multiclass, ts.build_optimizer, ts.build_schedule, ts.metrics, ts.Display
packages = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
assert packages == {"truestep", "safetensors"}, packages
assert not {"truestep.recipe", "truestep.data", "torch._dynamo"} & set(sys.modules)
"""
    end = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stderr


def test_every_public_function_and_class_is_explained():
    for name in ts.__all__:
        thing = getattr(ts, name)
        assert inspect.getdoc(thing), name


def test_the_python_of_the_readme_runs(tmp_path):
    end = subprocess.run(
        [sys.executable, "-c", block("python")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert end.returncode == 0, end.stderr
    assert (tmp_path / "runs" / "python" / "report.html").exists()


def test_ci_runs_the_test_command_of_the_readme():
    assert "pytest" in block("test")
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text()


def test_the_file_tree_of_the_readme_is_that_of_the_package():
    tree = re.search(r"src/truestep/\n(.*?)\ntests/", README, re.DOTALL)[1]
    told = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    there = {path.name for path in (ROOT / "src" / "truestep").iterdir() if path.suffix in ("", ".py")}
    assert told == there - {"__init__.py", "__main__.py", "__pycache__"}
