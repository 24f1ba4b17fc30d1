"""A run that is killed at any moment, again and again, ends with the same bits as one that never was."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import pytest
from runs import KINDS, MORE_KINDS, STEPS, ended_as, in_a_copy, reference, run

from truestep import checkpoint
from truestep.checkpoint import Checkpoints, newest_first

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3_000)]
QUICK, LONG = 8, 200  # kills of each kind
A_RUN = 8  # kills of one run at most


@pytest.mark.parametrize("name", KINDS | MORE_KINDS)
def test_runs_that_are_killed_end_the_same(tmp_path, long, name):
    if name in MORE_KINDS and not long:
        pytest.skip("of the long size")
    kind, draw = (KINDS | MORE_KINDS)[name], random.Random(name)
    expected = reference(kind, tmp_path / "whole")
    kills = inside = number = 0
    while kills < (LONG if long else QUICK):
        folder, number, before = tmp_path / f"run-{number}", number + 1, kills
        while ended_as(folder) is None:
            plan = {"change": draw.randrange(100)} if draw.random() < 0.5 else {"step": draw.randrange(STEPS // 2)}
            if kills - before == A_RUN:
                plan = {}  # and now to its end
            code = in_a_copy(lambda: run(kind, folder, **plan))  # noqa: B023  it is called here
            assert code in (0, -9), f"{name}: exit code {code} with {plan} in {folder}"
            kills += code == -9
            inside += code == -9 and "change" in plan
        assert ended_as(folder) == expected, f"{name}: other bits in {folder}"
        assert not list((folder / "checkpoints").glob(".tmp*"))
        shutil.rmtree(folder)
    assert inside
    print(f"{name}: {kills} kills, {inside} of them inside of a write, {number} runs, all to the same bits")


def test_every_moment_of_two_saves(tmp_path, long):
    kind = replace(KINDS["everything"], save_steps=STEPS // 2)
    expected = reference(kind, tmp_path / "whole")
    change = 0
    while True:
        folder = tmp_path / f"run-{change}"
        code = in_a_copy(lambda: run(kind, folder, change=change))  # noqa: B023
        if code == 0:
            break
        assert code == -9
        assert in_a_copy(lambda: run(kind, folder)) == 0, f"killed ahead of change {change}"  # noqa: B023
        assert ended_as(folder) == expected, f"killed ahead of change {change}"
        change += 1 if long else 7
    assert change > 60  # or nothing was counted


STATE = ["model", "ema", "optimizer", "scheduler", "scaler", "best", "mean", "hits", "rng"]
PLACE = ["epoch", "batch", "step", "log_size"]


@pytest.mark.parametrize("forgotten", STATE + PLACE)
def test_nothing_that_is_saved_could_be_left_out(tmp_path, monkeypatch, forgotten):
    """The check can fail: whatever a resumed run does not get back, it ends otherwise."""
    kind = KINDS["float16"] if forgotten == "scaler" else KINDS["everything"]
    if forgotten == "scaler":  # it grows every 2,000 steps, unless it is told otherwise
        monkeypatch.setattr("truestep.device.GradScaler.__init__.__defaults__", ("cuda", 2.0**16, 2.0, 0.5, 4, True))
    expected = reference(kind, tmp_path / "whole")
    assert in_a_copy(lambda: run(kind, tmp_path / "run", step=13, settled=True)) == -9

    fill = Checkpoints._fill

    def forgetful(self, path, content):
        fresh = {name: part.state_dict() for name, part in self.parts.items()}
        if forgotten in fresh:
            content[forgotten] = fresh[forgotten]
        if forgotten == "rng":
            content["rng"] = {name: [state[None]] for name, state in checkpoint._rng_state().items()}
        progress = fill(self, path, content)
        return {name: value for name, value in progress.items() if name != forgotten}

    monkeypatch.setattr(Checkpoints, "_fill", forgetful)
    code = in_a_copy(lambda: run(kind, tmp_path / "run"))
    assert code != 0 or ended_as(tmp_path / "run") != expected


@pytest.mark.parametrize("every", [1, 2, 7, 1_000])
def test_how_often_a_run_is_saved_changes_nothing(tmp_path, every):
    kind = KINDS["everything"]
    assert reference(replace(kind, save_steps=every), tmp_path / "other") == reference(kind, tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 2])
def test_how_many_workers_read_changes_nothing(tmp_path, monkeypatch, workers):
    from truestep.batches import Batches

    alone = reference(replace(KINDS["ragged windows, workers"], data="dataset"), tmp_path / "whole")
    init = Batches.__init__

    def with_workers(self, *arguments, **options):
        init(self, *arguments, **options | {"num_workers": workers if "seed" in options else 0})

    monkeypatch.setattr(Batches, "__init__", with_workers)
    assert reference(KINDS["ragged windows, workers"], tmp_path / "other") == alone


def test_a_run_is_resumed_from_its_newest_checkpoint(tmp_path):
    """Not from its beginning, which would give the same bits too."""
    kind = KINDS["everything"]
    assert in_a_copy(lambda: run(kind, tmp_path, step=13, settled=True)) == -9
    newest = newest_first(tmp_path / "checkpoints")[0]
    assert newest.name == "step-00000012"
    assert in_a_copy(lambda: run(kind, tmp_path, step=13, settled=True)) == -9  # 13 updates more
    assert newest_first(tmp_path / "checkpoints")[0].name == "step-00000024"
