"""Full disks, refused writes and power cuts: what was saved stays, and nothing wrong is ever loaded."""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import truestep as ts
from truestep import disk
from truestep.checkpoint import Checkpoints
from truestep.errors import InputError, RefusedError
from truestep.folder import MetricsLog

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
CHANGES = ("make_folder", "create", "write", "flush", "flush_folder", "rename", "remove", "remove_folder")
SAVES = 3


class Holder:
    def __init__(self):
        self.state = {}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def save(folder, step, keep=2, wait=True):
    holder = Holder()
    holder.state = {"weights": torch.full((7,), float(step)), "text": "x" * 40, "step": step}
    checkpoints = Checkpoints(folder, {"it": holder}, keep=keep)
    with checkpoints:
        checkpoints.save({"step": step}, wait=wait)


def _told(function):
    """Return what an InputError says; nothing if there is none."""
    try:
        function()
    except InputError as error:
        return str(error)
    return ""


def loaded(folder):
    """Return the step that is loaded after checking all of it; None if there is nothing to load."""
    holder = Holder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            step = Checkpoints(folder, {"it": holder}).restore()["step"]
        except (InputError, RefusedError):
            return None
    assert holder.state["step"] == step
    assert holder.state["weights"].tolist() == [float(step)] * 7
    assert holder.state["text"] == "x" * 40
    return step


# ---- every call that can fail does ------------------------------------------------------------------------------------


def failing(monkeypatch, number, code, short=False):
    """Have the `number`-th change of the disk fail; return a function that says whether it did."""
    left, failed = iter(range(number, -1, -1)), []

    def wrap(name, original):
        def call(*arguments):
            if next(left, 1) == 0:
                failed.append(name)
                if short and name == "write":
                    original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise OSError(code, os.strerror(code))
            return original(*arguments)

        return call

    for name in CHANGES:
        monkeypatch.setattr(disk, name, wrap(name, getattr(disk, name)))
    return lambda: failed


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EROFS], ids=errno.errorcode.get
)
@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "beside"])
def test_every_failing_call_leaves_what_was_saved(tmp_path, code, wait):
    for number in itertools.count():
        folder = tmp_path / f"run-{number}"
        save(folder, 1)
        save(folder, 2)
        with pytest.MonkeyPatch.context() as patch:
            failed = failing(patch, number, code, short=code == errno.ENOSPC)
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                told = _told(lambda: save(folder, 3, wait=wait))  # noqa: B023
            if not failed():
                assert number > 12  # or nothing was counted
                break
            said = told + "".join(str(warning.message) for warning in warned)
            assert os.strerror(code).lower() in said or failed()[0] in ("remove", "remove_folder")
            assert bool(told) == (wait and bool(said))
        assert loaded(folder) in ((2, 3) if failed() else (3,))
        save(folder, 4)  # the next good one heals
        assert loaded(folder) == 4
        assert not list((folder / "checkpoints").glob(".tmp*"))


def test_a_full_disk_names_the_file_though_what_is_written_to_it_waits(tmp_path):
    """`/dev/full` takes nothing, and an error of a file that is open says nothing of its name."""
    log = MetricsLog(tmp_path)
    log.write({"kind": "step"})
    log.file.close()
    log.file = open("/dev/full", "ab")  # noqa: SIM115, PTH123
    with pytest.raises(OSError, match=r"metrics\.jsonl") as full, log:
        log.write({"kind": "step"})
    assert full.value.errno == errno.ENOSPC


def test_a_run_trains_on_when_a_checkpoint_can_not_be_written_but_the_last_one_must_be(tmp_path, monkeypatch):
    """The folder of checkpoints is taken away and put back: what a full disk does to a run, without filling one."""
    create, refused = disk.create, []

    def full(path):
        if "checkpoints" in str(path) and len(refused) < limit:
            refused.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path)

    monkeypatch.setattr(disk, "create", full)
    monkeypatch.setattr(Checkpoints, "busy", False)  # none is left out because the one before it is still being written

    def fit(folder):
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        data = (torch.randn(30, 3), torch.randn(30, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        ts.fit(
            model, ts.Batches(data, 5), None, ts.Regression(), optimizer, epochs=3, folder=folder,
            save_steps=4, save_seconds=math.inf, show=False,
        )  # fmt: skip
        return model

    limit = 0
    reference = fit(tmp_path / "a")
    limit = 2
    with pytest.warns(UserWarning, match=r"can't write a checkpoint \(no space left on device\). The run goes on"):
        model = fit(tmp_path / "b")
    assert torch.equal(model.weight, reference.weight)
    limit, refused[:] = math.inf, []
    with pytest.warns(UserWarning, match="The run goes on"):
        told = _told(lambda: fit(tmp_path / "c"))
    assert "can't write a checkpoint (no space left on device)" in told


def test_a_full_file_system(tmp_path):
    """3 MB of memory as a disk; it takes root to mount it."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        holder = Holder()
        checkpoints, good = Checkpoints(place, {"it": holder}, keep=9), 0
        for step in range(1, 12):
            holder.state = {"weights": torch.full((100_000,), float(step))}
            told = _told(lambda: checkpoints.save({"step": step}))  # noqa: B023
            good = good if told else step
            assert not told or "no space left on device" in told
        assert 0 < good < 11
        assert checkpoints.restore()["step"] == good
        assert holder.state["weights"].tolist() == [float(good)] * 100_000
    finally:
        subprocess.run(["umount", place], check=True)


# ---- the power fails ---------------------------------------------------------------------------------------------------


class Disk:
    """What survives a power cut, by the letter of POSIX.

    A file's bytes are sure once it is flushed, the names in a folder once the folder is. What is not sure may be lost, in
    part or whole. Changes of names reach the disk in their order, as in a journal, up to some point after what is sure.
    """

    def __init__(self, root: Path, monkeypatch) -> None:
        self.root, self.log = root, []
        for name in CHANGES:
            monkeypatch.setattr(disk, name, self._noted(name, getattr(disk, name)))

    def _noted(self, name, original):
        def call(*arguments):
            result = original(*arguments)
            shown = [Path(a.name) if hasattr(a, "fileno") else bytes(a) if name == "write" and i else a
                     for i, a in enumerate(arguments)]  # fmt: skip
            self.log.append((name, *shown))
            return result

        return call

    def after_cut(self, length: int, draw: random.Random, target: Path) -> None:
        """Write to `target` what may be left when the power fails after so many changes."""
        inodes, names, journal, sure = {}, {}, [], 0
        for number, (change, *arguments) in enumerate(self.log[:length]):
            path = arguments[0]
            match change:
                case "create":
                    inodes[number] = {"bytes": b"", "sure": b""}
                    names[path] = number
                    journal.append(("name", path, number))
                case "write":
                    inodes[names[path]]["bytes"] += arguments[1]
                case "flush":
                    if path in names:
                        inodes[names[path]]["sure"] = inodes[names[path]]["bytes"]
                case "make_folder":
                    journal.append(("folder", path, None))
                case "rename":
                    names = {_moved(p, *arguments): inode for p, inode in names.items()}
                    journal.append(("rename", *arguments))
                case "remove" | "remove_folder":
                    names = {p: i for p, i in names.items() if path not in (p, *p.parents)}
                    journal.append(("gone", path, None))
                case "flush_folder":
                    sure = len(journal)
        kept = journal[: draw.randrange(sure, len(journal) + 1)]
        folders, files = {self.root}, {}
        for change, path, other in kept:
            if change == "folder":
                folders.add(path)
            elif change == "name":
                files[path] = other
            elif change == "rename":
                folders = {_moved(p, path, other) for p in folders}
                files = {_moved(p, path, other): inode for p, inode in files.items()}
            else:
                folders = {p for p in folders if path not in (p, *p.parents)}
                files = {p: inode for p, inode in files.items() if path not in (p, *p.parents)}
        for path in folders:
            (target / path.relative_to(self.root)).mkdir(parents=True, exist_ok=True)
        for path, inode in files.items():
            content, certain = inodes[inode]["bytes"], inodes[inode]["sure"]
            if content != certain:
                content = draw.choice([b"", content[: draw.randrange(len(content) + 1)], bytes(len(content)), content])
            (target / path.relative_to(self.root)).write_bytes(content)


def _moved(path: Path, old: Path, new: Path) -> Path:
    return new / path.relative_to(old) if old == path or old in path.parents else path


def cut(tmp_path, monkeypatch, long, states):
    """Return of how many states which outcome: "right", "lost" what was acknowledged, or nothing to load."""
    root = tmp_path / "disk"
    root.mkdir()
    recorder, acknowledged = Disk(root, monkeypatch), []
    for step in range(1, SAVES + 1):
        save(root, step)
        acknowledged.append(len(recorder.log))
    draw, outcomes = random.Random(0), {"right": 0, "lost": 0, "wrong": 0}
    for _ in range(states):
        length = draw.randrange(len(recorder.log) + 1)
        target = tmp_path / "after"
        recorder.after_cut(length, draw, target)
        promised = sum(length >= done for done in acknowledged)
        try:
            found = loaded(target) or 0
        except AssertionError:
            outcomes["wrong"] += 1
        else:
            outcomes["right" if found >= promised else "lost"] += 1
        shutil.rmtree(target)
    return outcomes


def test_power_cuts(tmp_path, monkeypatch, long):
    states = 20_000 if long else 400
    outcomes = cut(tmp_path, monkeypatch, long, states)
    print(f"power cuts: {outcomes}")
    assert outcomes == {"right": states, "lost": 0, "wrong": 0}


@pytest.mark.parametrize("missing", ["flush", "flush_folder"])
def test_without_flushing_a_power_cut_would_lose_checkpoints(tmp_path, monkeypatch, long, missing):
    """The check can fail."""
    monkeypatch.setattr(disk, missing, lambda _: None)
    outcomes = cut(tmp_path, _Unless(monkeypatch, missing), long, 300)
    assert outcomes["lost"] > 20
    assert not outcomes["wrong"]  # thanks to the sums


class _Unless:
    """Patches everything but one name, which stays as it was patched before and reaches no log."""

    def __init__(self, monkeypatch, name):
        self.monkeypatch, self.name = monkeypatch, name

    def setattr(self, owner, name, value):
        if name != self.name:
            self.monkeypatch.setattr(owner, name, value)
