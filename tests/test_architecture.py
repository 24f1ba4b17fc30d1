"""The picture in ARCHITECTURE.md is the truth about imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "truestep"
OUTSIDE = {"__init__", "__main__"}  # the public names and the way in; they stand above the picture


def part(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


FILES = sorted(path for path in SOURCE.rglob("*.py") if part(path) not in OUTSIDE)
PARTS = {part(path) for path in FILES}


def floors() -> dict[str, int]:
    picture = re.search(r"## The picture.*?```text\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    assert picture
    lines = picture[1].splitlines()
    return {word: depth for depth, line in enumerate(lines) for word in line.split("#")[0].split()}


def imported(path: Path) -> list[str]:
    """The parts of truestep that a file imports, wherever in it the import stands."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("truestep.")]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            if node.module == "truestep":
                found += [alias.name for alias in node.names if alias.name in PARTS]
            elif (node.module or "").startswith("truestep."):
                found.append(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    depth = floors()
    for name in imported(path):
        assert name == part(path) or depth[name] > depth[part(path)], f"{part(path)} imports {name}"


def test_every_part_is_in_the_picture_and_every_word_of_it_is_a_part():
    assert set(floors()) == PARTS


def test_the_imports_are_seen():
    """The test above can fail: it does see what files import."""
    assert {"objectives", "batches", "evaluation", "distributed"} <= set(imported(SOURCE / "loop.py"))


def test_only_a_whole_run_and_the_shell_know_the_doctor():
    knowing = {part(path) for path in FILES if "doctor" in imported(path)}

    assert knowing == {"cli", "run", "doctor"}


def test_nothing_in_the_package_can_run_code_from_a_file():
    """No pickle, eval or exec, and torch.load of weights only: what is read from disk is data.

    But for the script that somebody asks the doctor to run.
    """
    dangerous = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {
                    (getattr(node, "module", "") or "").split(".")[0]
                }
                assert not names & dangerous, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if path == SOURCE / "doctor" / "command.py" and called in {"exec", "compile"}:
                    continue
                if called == "torch.load" and "weights_only=True" in ast.unparse(node):
                    continue
                assert called not in {"eval", "exec", "compile", "__import__", "torch.load", "np.load"}, (
                    f"{path}: {called}"
                )
