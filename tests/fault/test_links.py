"""What others have planted where a run writes is neither followed nor replaced, and nothing is waited for that never comes."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.fault
PRECIOUS = "precious"


def rows(count=60):
    draw = random.Random(0)
    return "x,y,label\n" + "".join(f"{draw.random()},{draw.random()},{draw.choice('ab')}\n" for _ in range(count))


@pytest.fixture(scope="module")
def kept(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("links")
    (folder / "data.csv").write_text(rows())
    options = ["--target", "label", "--model", "linear", "--max-steps", "2", "--epochs", "3", "--no-doctor"]
    ended = server.run("train", "data.csv", *options, "--out", "run", folder=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def place(kept, tmp_path):
    """A folder with data and a run that can go on, and what must stay as it is."""
    shutil.copytree(kept, tmp_path / "place")
    folder = tmp_path / "place"
    recipe = folder / "run" / "recipe.toml"
    for file in (recipe, folder / "run" / "environment.json"):
        file.write_text(file.read_text().replace(str(kept), str(folder)))
    (tmp_path / "victim").write_text(PRECIOUS)
    (tmp_path / "victims").mkdir()
    for name in ("model.safetensors", "model.json", "manifest.json"):
        (tmp_path / "victims" / name).write_text(PRECIOUS)
    return folder


def untouched(folder) -> bool:
    outside = folder.parent
    names = {path.name: path.read_text() for path in (outside / "victims").iterdir()}
    inside = {"model.safetensors": PRECIOUS, "model.json": PRECIOUS, "manifest.json": PRECIOUS}
    return (
        (outside / "victim").read_text() == PRECIOUS
        and names == inside
        and {path.name for path in outside.iterdir()} == {"place", "victim", "victims"}
    )


def plant(path, kind, outside):
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    match kind:
        case "link":
            path.symlink_to(outside / "victim")
        case "hard link":
            path.hardlink_to(outside / "victim")
        case "link to nothing":
            path.symlink_to(outside / "new")
        case "link to a folder":
            path.symlink_to(outside / "victims")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()


FILES = ("recipe.toml", "environment.json", "metrics.jsonl", "results.json", "report.html", ".lock",
         "model/model.safetensors", "model/model.json")  # fmt: skip
PLANTED = [
    *((name, "link") for name in FILES),
    *((name, "pipe") for name in FILES),
    *((name, "folder") for name in ("metrics.jsonl", "results.json", ".lock")),
    ("metrics.jsonl", "link to nothing"),
    *((name, "hard link") for name in ("metrics.jsonl", ".lock")),
    ("model", "link to a folder"),
    ("model", "link"),
    ("checkpoints", "link to a folder"),
]


@pytest.mark.parametrize(("name", "kind"), PLANTED, ids=lambda word: word.replace("/", "-"))
def test_in_the_folder_of_a_run(server, place, name, kind):
    plant(place / "run" / name, kind, place.parent)
    ended = server.run("train", "--resume", "run", "--max-steps", "3", "--no-doctor", folder=place, seconds=30)
    assert ended.line
    assert untouched(place)
    assert (place / "run" / name).is_symlink() or kind in ("pipe", "folder", "hard link")


OUTPUTS = [
    *(
        ("predict run data.csv --out out.csv", "out.csv", kind)
        for kind in ("link", "link to nothing", "pipe", "folder")
    ),
    *(("eject run -o out.py", "out.py", kind) for kind in ("link", "link to nothing", "pipe", "folder")),
    ("train data.csv --target label --out run2 --no-doctor --epochs 1", "run2", "link"),
    ("train data.csv --target label --out run2 --no-doctor --epochs 1", "run2", "pipe"),
    ("train data.csv --target label --out run2 --no-doctor --epochs 1", "run2/.lock", "link"),
    ("train data.csv --target label --out run2 --no-doctor --epochs 1", "run2/.lock", "hard link"),
    ("train data.csv --target label --out run2 --no-doctor --epochs 1", "run2/.lock", "pipe"),
    ("train data.csv --target label --out run2 --no-doctor --epochs 1", "run2/.lock", "folder"),
]


@pytest.mark.parametrize(("command", "name", "kind"), OUTPUTS)
def test_where_something_is_written_to(server, place, command, name, kind):
    (place / name).parent.mkdir(exist_ok=True)
    plant(place / name, kind, place.parent)
    before = os.lstat(place / name)
    ended = server.run(*command.split(), folder=place, seconds=30)
    assert ended.line
    assert untouched(place)
    after = os.lstat(place / name)
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)


def test_temporary_names_that_were_taken(server, place):
    """By links of all the numbers that the process may have."""
    take = """
import os
from pathlib import Path
for name in ("run/.recipe.toml", "run/.results.json", "run/model/.model.json", ".out.csv"):
    path = Path(name)
    path.with_name(f"{path.name}.{os.getpid()}.tmp").symlink_to(Path("../victim").resolve())
"""
    for command in ("train --resume run --max-steps 3 --no-doctor", "predict run data.csv --out out.csv"):
        ended = server.run(
            *command.split(), folder=place, before=take.replace("../victim", str(place.parent / "victim"))
        )
        assert ended.code == 0, ended.err
        assert untouched(place)
        for litter in place.rglob("*.tmp"):
            litter.unlink()


def test_a_report_of_the_doctor_follows_no_link(server, place):
    (place / "script.py").write_text("print(1)\n")
    before = f"import os; os.symlink({str(place.parent / 'victim')!r}, f'.out.json.{{os.getpid()}}.tmp')"
    (place / ".out.json.part").symlink_to(place.parent / "victim")
    ended = server.run("doctor", "--format", "json", "--out", "out.json", "script.py", folder=place, before=before)
    assert ended.code == 0, ended.err
    assert untouched(place)


def test_evidence_of_nan_is_not_written_through_a_link_and_the_run_ends_as_it_would(server, place):
    (place / "run2").mkdir()
    plant_it = "import truestep.loop as l; w = l.write_state; l.write_state = lambda p, s: (p.symlink_to('../../victims'), w(p, s))"
    spoil = "; import torch; from truestep.objectives import Binary; Binary.loss_sum = lambda *_: torch.tensor(float('nan'), requires_grad=True)"
    ended = server.run(
        *["train", "data.csv", "--target", "label", "--out", "run2", "--no-doctor"],
        folder=place,
        before=plant_it + spoil,
    )
    assert ended.code == 4, ended.err
    assert "nonfinite: can't be written" in ended.err
    assert "Traceback" not in ended.err
    assert untouched(place)


DEVICES = ["/dev/null", "/dev/full", "/dev/zero"]


@pytest.mark.parametrize("out", [*DEVICES, "/dev/stdout", "/proc/self/mem"])
def test_devices_are_left_as_they_are(server, place, out):
    before = [Path(device).stat().st_rdev for device in DEVICES]
    for command in ("predict run data.csv --out", "eject run -o", "train data.csv --target label --out"):
        ended = server.run(*command.split(), out, folder=place, seconds=30)
        assert ended.line
    named = place / "device.csv"
    named.symlink_to(out)
    assert server.run("predict", "run", "data.csv", "--out", "device.csv", folder=place).line
    assert named.is_symlink()
    assert [Path(device).stat().st_rdev for device in DEVICES] == before


def test_output_that_goes_nowhere(server, place):
    full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    for command in (
        "evaluate run --json",
        "evaluate run",
        "predict run data.csv",
        "data data.csv --target label --json",
    ):
        ended = server.run(*command.split(), folder=place, before=full)
        assert ended.code == 2, (command, ended.err)
        assert "no space left" in ended.line.lower()


def test_links_of_one_s_own_are_read(server, place):
    """The check can fail: a link is no mistake where it is only read, as models from a cache are."""
    for path in [*(place / "run" / "model").iterdir(), place / "data.csv"]:
        moved = place / f"moved-{path.name}"
        path.rename(moved)
        path.symlink_to(moved)
    ended = server.run("predict", "run", "data.csv", "--out", "out.csv", folder=place)
    assert ended.code == 0, ended.err
    assert len((place / "out.csv").read_text().splitlines()) == 61
