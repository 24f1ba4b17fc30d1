"""A piece of a run comes out again as it was written down, and what does not is found where it begins."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

import truestep as ts
from truestep.checkpoint import Checkpoints, read_state, write_state
from truestep.cli import main
from truestep.folder import read_metrics
from truestep.replay import replay

EVERYTHING = {
    "model": "mlp", "model.args": {"dropout": 0.3}, "augment.shift": 1, "train.ema_decay": 0.9, "accumulate": 2,
    "schedule": "plateau", "patience": 9, "max_grad_norm": 1.0, "train.keyed_dropout": True,
}  # fmt: skip


def trained(folder, **choices):
    options = {"epochs": 2, "batch_size": 64, "run.log_every": 3, "run.save_steps": 7, "run.keep_checkpoints": 9}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "busy", False)  # none is left out because the one before it is still being written
        ts.train("digits", out=folder, show=False, doctor=False, **options | choices)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one") / "run", **EVERYTHING)


def sums(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def logged(folder, begin, end):
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["kind"] in ("step", "epoch")]
    return [row for row in rows if begin < row["step"] <= end]


@pytest.mark.parametrize("step", [1, 7, 8, 10, 20])
def test_what_was_done_comes_out_again(run, step):
    before, steps = sums(run), [read_state(path)["progress"]["step"] for path in (run / "checkpoints").iterdir()]

    found = replay(run, step)

    assert found["same"]
    assert found["from"] == max((at for at in steps if at < step), default=0)
    assert found["to"] >= step
    assert found["rows"] == len(logged(run, found["from"], found["to"])) > 0
    assert [row["step"] for row in found["updates"]][-1] == found["to"]
    assert sums(run) == before


def test_a_digit_that_was_changed_is_found(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    changed = next(row for row in lines if row["kind"] == "step" and row["step"] == 9)
    changed["loss"] *= 1 + 1e-15
    log.write_text("".join(f"{json.dumps(row)}\n" for row in lines))

    assert replay(tmp_path / "run", 3)["same"]
    found = replay(tmp_path / "run", 12)

    assert (found["same"], found["step"], list(found["found"])) == (False, 9, ["loss"])


def test_weights_that_are_not_those_of_the_run_are_found(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    begin = next(path for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name == "step-00000014")
    state = read_state(begin)
    next(iter(state["model"].values())).view(-1)[0] += 1e-6
    write_state(begin, state)

    found = replay(tmp_path / "run", 16)
    assert (found["from"], found["same"]) == (14, False)
    assert "weights" in found["found"]


def test_a_damaged_checkpoint_is_named_and_passed_over(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    places = sorted((tmp_path / "run" / "checkpoints").iterdir(), reverse=True)
    (places[0] / "state.json").write_text("{}")
    said = []

    found = replay(tmp_path / "run", 20, say=said.append)

    assert found["same"]
    assert "state.json" in said[0]


def test_a_prolonged_run_is_done_again_with_the_plan_that_it_had(tmp_path):
    path = trained(tmp_path / "run", **{"run.keep_checkpoints": 1})
    ts.train(resume=path, epochs=4, show=False, doctor=False)

    assert replay(path, 30)["same"]  # of the first plan, from the start
    assert json.loads((path / "environment.json").read_text())["resumed"][0]["choices"] == {"train.epochs": [2, 4]}
    shutil.rmtree(path / "checkpoints")
    with pytest.raises(ts.InputError, match=r"went on with other choices behind update 40 \(train\.epochs\)"):
        replay(path, 60)


def test_a_run_that_went_back_is_done_again_where_it_can_be(tmp_path):
    path = trained(tmp_path / "run", epochs=1, optimizer="sgd", lr=0.01)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    back = {"kind": "rollback", "epoch": 1, "step": 10, "to_step": 7, "error": "the loss is nan"}
    place = next(i for i, row in enumerate(rows) if row["step"] > 10)
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*rows[:place], back, *rows[place:]]))

    assert replay(path, 6)["same"]
    assert replay(path, 18)["same"]
    shutil.rmtree(path / "checkpoints")
    with pytest.raises(ts.InputError, match="after 0, where this would begin, the run went back"):
        replay(path, 18)


@pytest.mark.parametrize("choices", [{}, {"train.keyed_dropout": True, "micro_batch": 16}], ids=["plain", "pieces"])
def test_an_update_that_was_not_finite_is_not_finite_again(tmp_path, choices, capsys):
    path = tmp_path / "run"
    with pytest.raises(ts.NonFiniteError) as told:
        trained(path, model="mlp", optimizer="sgd", lr=1e18, **{"model.args": {"dropout": 0.5}} | choices)

    found = replay(path)
    assert found["same"]
    assert str(told.value).endswith(found["again"])
    assert "not finite" in found["again"]

    state = read_state(path / "nonfinite")
    for value in state["model"].values():
        value.clamp_(-1, 1)
    write_state(path / "nonfinite", state)
    found = replay(path)
    assert (found["same"], found["again"]) == (False, "all numbers are finite")
    with pytest.raises(SystemExit) as end:
        main(["replay", str(path)])
    assert end.value.code == 3
    assert "in the run: epoch 1" in capsys.readouterr().out


def test_the_example_to_blame_is_named_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source.py").write_text(
        "import torch\n\n\nclass Lazy(torch.utils.data.Dataset):\n    def __len__(self):\n        return 100\n\n"
        "    def __getitem__(self, i):\n        return torch.full((3,), float('nan') if i == 42 else i / 100), i % 2\n"
    )
    choices = {"valid": 0.0, "test": 0.0, "epochs": 1}
    with pytest.raises(ts.NonFiniteError, match="example 42: the inputs hold nan"):
        ts.train("source.py:Lazy", out="run", show=False, doctor=False, model="mlp", **choices)

    found = replay("run", said={"data.source": "source.py:Lazy"})

    assert found["same"]
    assert "example 42: the inputs hold nan" in found["again"]


def test_other_circumstances_are_said_and_other_data_refused(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "environment.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"cpu_capability": "ABACUS"}))
    found = replay(tmp_path / "run", 3)
    assert found["circumstances"]["cpu_capability"][0] == "ABACUS"

    path.write_text(json.dumps(known | {"data_sha256": "0" * 64}))
    with pytest.raises(ts.RefusedError, match="the data is no longer what this run learnt from"):
        replay(tmp_path / "run", 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--step", "0"], "step: expected one from 1 to "),
        (["--step", "9999"], "found 9999"),
        ([], "step: expected an update to come to, found none. Say --step N."),
        (["--step", "3", "--model", "cnn"], "model.name: this run has mlp, found cnn"),
    ],
)
def test_what_can_not_be_done_again_is_said_in_a_line(run, capsys, arguments, says):
    with pytest.raises(SystemExit) as end:
        main(["replay", str(run), "--quiet", *arguments])
    _, err = capsys.readouterr()
    assert end.value.code == 2
    assert len(err.splitlines()) == 1
    assert says in err.replace("--model", "model.name")


def test_code_is_run_only_if_it_is_named_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    trained(tmp_path / "run", model="net.py:Net")
    with pytest.raises(ts.RefusedError, match=r"model\.name names code"):
        replay(tmp_path / "run", 3)
    assert replay(tmp_path / "run", 3, said={"model.name": "net.py:Net"})["same"]
