"""Where two runs part is found at its first row, and the cause named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import truestep as ts
from truestep.cli import main
from truestep.comparison import compare

ROWS = np.random.default_rng(0).normal(size=(120, 4)).astype("float32")
YES = (ROWS[:, 0] > 0).astype("int64")
SHORT = {"epochs": 3, "run.log_every": 2, "batch_size": 16, "show": False, "model": "mlp"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "run"
    ts.train((ROWS, YES), out=folder, **SHORT)
    return folder


def other(folder, source=(ROWS, YES), **choices):
    ts.train(source, out=folder / "other", **SHORT | choices)
    return folder / "other"


def test_the_same_run_again_is_the_same(run, tmp_path):
    found = compare(run, other(tmp_path))
    assert found["same"]
    assert found["rows"] == 9 + 3 + 1  # a row for every second of 18 updates, for every epoch, and for the end
    assert found["differences"] == {}


@pytest.mark.parametrize(
    ("choices", "step", "cause"),
    [
        ({"seed": 1}, 2, "run.seed: 0 and 1"),
        ({"lr": 0.01}, 2, "optimizer.lr: 0.001 and 0.01"),
        ({"schedule": "constant"}, 4, "schedule.name: cosine and constant"),
        ({"model.args": {"dropout": 0.5}}, 2, "model.args"),
    ],
)
def test_a_choice_is_named(run, tmp_path, choices, step, cause):
    found = compare(run, other(tmp_path, **choices))
    assert not found["same"]
    assert found["step"] <= step
    assert cause in found["cause"]


def test_other_data_is_named(run, tmp_path):
    changed = ROWS.copy()
    changed[7, 2] += 1
    found = compare(run, other(tmp_path, (changed, YES)))
    assert found["cause"] == "the data is not the same"


def test_what_nobody_wrote_down_is_found_where_it_begins(run, tmp_path):
    """A row that was tampered with stands for a computation that was not reproducible."""
    shutil.copytree(run, tmp_path / "copy")
    log = tmp_path / "copy" / "metrics.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    steps = [number for number, line in enumerate(lines) if '"kind": "step"' in line]
    lines[steps[4]] = lines[steps[4]].replace('"weights": "', '"weights": "f')
    log.write_text("".join(lines))
    found = compare(run, tmp_path / "copy")
    assert found["step"] == 10
    assert [*found["found"]] == ["weights"]
    assert "not reproducible" in found["cause"]


def test_a_log_that_ends_within_a_line_is_compared_as_far_as_it_goes_and_said(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    with (copy / "metrics.jsonl").open("ab") as log:
        log.write(b'{"kind": "st')
    with pytest.raises(SystemExit) as end:
        main(["diff", str(run), str(copy)])
    out, err = capsys.readouterr()
    assert end.value.code == 0
    assert "the same to the bit" in out
    assert err.startswith(f"note: {copy / 'metrics.jsonl'}, line ")
    assert "not written to its end" in err


def test_logs_that_share_no_row_part_by_what_the_recipes_say(tmp_path, capsys):
    one = tmp_path / "one"
    ts.train((ROWS, YES), out=one, **SHORT | {"epochs": 1, "run.log_every": 50})
    found = compare(one, other(tmp_path, epochs=1, batch_size=8, **{"run.log_every": 50}))
    assert (found["same"], found["rows"], found["cause"]) == (False, 0, "train.batch_size: 16 and 8")
    with pytest.raises(SystemExit) as end:
        main(["diff", str(one), str(tmp_path / "other")])
    assert end.value.code == 3
    assert capsys.readouterr().out.startswith(
        "no row of the two logs is of the same epoch and step\nthe cause: train.b"
    )


def test_logs_that_share_no_row_of_other_data_part_by_them(run, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("a,y\n" + "".join(f"{a},{y}\n" for a, y in zip(ROWS[:60, 0], YES[:60], strict=True)))
    path = other(tmp_path, file, target="y", **{"run.log_every": 50})
    assert compare(path, run)["cause"] == f"the data is not the same (data.source: {file} and )"


def test_logs_that_share_no_row_for_no_reason_are_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "metrics.jsonl").write_text("")
    with pytest.raises(ts.InputError, match=r"a row of the same epoch and step, found none \(13 and 0 rows\)"):
        compare(run, tmp_path / "copy")


def test_what_fit_left_is_compared_without_a_recipe(run, tmp_path):
    for name, lr in {"one": 0.1, "same": 0.1, "other": 0.2}.items():
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 1)
        batches = ts.Batches((torch.from_numpy(ROWS), torch.from_numpy(YES)), batch_size=16)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        ts.fit(model, batches, None, ts.Binary(), optimizer, epochs=1, folder=tmp_path / name, show=False, log_every=1)
    assert compare(tmp_path / "one", tmp_path / "same")["same"]
    found = compare(tmp_path / "one", tmp_path / "other")
    assert (found["same"], found["step"]) == (False, 1)
    assert found["cause"] == (
        f"the learning rate; more can't be looked up: there is no recipe.toml in {tmp_path / 'one'} and {tmp_path / 'other'}"
    )


def test_what_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(ts.InputError):
        compare(run, tmp_path)
