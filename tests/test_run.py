"""A whole run from Python, on every kind of data it takes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from sklearn import metrics as sk
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import truestep as ts
from truestep.run import evaluate_folder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5)).astype(np.float32)
YES = (X[:, 0] > 0).astype(int)
VALUES = X[:, 0] * 10 + 100


class Lazy(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return torch.tensor(X[row]), int(YES[row])


FRAME = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": ["u", "v"] * 100, "y": np.where(YES, "yes", "no")})
SOURCES = {
    "binary arrays": ((X, YES), {}, "accuracy", 0.9),
    "tensors": ((torch.tensor(X), torch.tensor(YES)), {}, "accuracy", 0.9),
    "a TensorDataset": (TensorDataset(torch.tensor(X), torch.tensor(YES)), {}, "accuracy", 0.9),
    "a lazy dataset": (Lazy(), {}, "accuracy", 0.9),
    "a frame": (FRAME, {"target": "y"}, "accuracy", 0.9),
    "numbers": ((X, VALUES), {}, "r2", 0.8),
    "two numbers": ((X, np.stack([VALUES, 2 * VALUES], 1)), {}, "r2", 0.6),
    "labels": ((X, (X > 0).astype(int)[:, :3]), {"objective": "multilabel"}, "f1", 0.8),
    "images": ((np.where(YES[:, None, None, None], 1.0, 0.0) * np.ones((1, 1, 8, 8)), YES), {}, "accuracy", 1.0),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_run_learns_from(name, tmp_path):
    source, choices, metric, least = SOURCES[name]
    run = ts.train(source, out=tmp_path / "run", epochs=8, lr=3e-3, show=False, **choices)

    assert run.metrics[metric] >= least
    for file in ("model/model.json", "results.json", "report.html", "recipe.toml"):
        assert (tmp_path / "run" / file).exists()
    if name not in ("a TensorDataset", "a lazy dataset"):
        rows = source.drop("y") if isinstance(source, pl.DataFrame) else source[0]
        again = ts.Predictor.load(tmp_path / "run")
        assert again.predict(rows).equals(run.predict(rows))


def test_predictions_agree_with_the_figures(tmp_path):
    run = ts.train(FRAME, "y", out=tmp_path / "run", epochs=4, show=False)
    rows = ts.data.load(FRAME, target="y").test.rows.tolist()
    found = run.predict(FRAME[rows].drop("y"))
    truth = FRAME[rows]["y"] == "yes"

    assert run.metrics["accuracy"] == pytest.approx(sk.accuracy_score(truth, found["prediction"] == "yes"), abs=1e-9)
    assert run.metrics["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, found["probability_yes"]), abs=1e-6)
    assert run.metrics["log_loss"] == pytest.approx(sk.log_loss(truth, found["probability_yes"]), rel=1e-5)


def test_labels_are_answered_one_by_one(tmp_path):
    source, choices, *_ = SOURCES["labels"]
    found = ts.train(source, out=tmp_path / "run", epochs=2, show=False, **choices).predict(X[:9])

    assert found.columns == [f"{kind}_{i}" for kind in ("prediction", "probability") for i in range(3)]
    assert ((found["probability_1"] > 0.5) == (found["prediction_1"] == 1)).all()


def test_a_run_leaves_the_process_as_it_found_it(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    ts.train((X, YES), out=tmp_path / "run", epochs=1, show=False, seed=5, **{"run.threads": 2})

    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_on_data_from_python_is_resumed_with_that_data(tmp_path):
    ts.train((X, YES), out=tmp_path / "run", epochs=2, show=False)
    prolonged = ts.train((X, YES), resume=tmp_path / "run", epochs=4, show=False)
    assert prolonged.results["epochs"] == 4
    recipe = ts.Recipe.from_toml(tmp_path / "run" / "recipe.toml")
    whole = ts.train((X, YES), recipe=recipe, out=tmp_path / "whole", show=False)
    again = ts.train((X, YES), recipe=whole.recipe, out=tmp_path / "again", show=False)
    assert all(torch.equal(p, q) for p, q in zip(whole.model.parameters(), again.model.parameters(), strict=True))

    comment = "# Prolonged from epochs = 2 to 4: the schedule was planned anew"
    assert comment in (tmp_path / "run" / "recipe.toml").read_text()

    with pytest.raises(ts.RefusedError, match="no longer what this run began with"):
        ts.train((X + 1, YES), resume=tmp_path / "run", epochs=5, show=False)
    with pytest.raises(ts.InputError, match="expected data to train on"):
        ts.train(resume=tmp_path / "run", epochs=5, show=False)
    with pytest.raises(ts.InputError, match="expected 2 classes for binary"):
        ts.train("digits", resume=tmp_path / "run", show=False)


def test_balanced_weights_are_those_of_scikit_learn(tmp_path):
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.repeat([0, 1, 2], [140, 40, 20])
    run = ts.train((X, classes), out=tmp_path / "run", epochs=1, show=False, balance="weights")
    train = ts.data.load((X, classes)).train.targets.numpy()

    expected = compute_class_weight("balanced", classes=np.arange(3), y=train)
    assert run.predictor.objective.class_weights == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    ("source", "choices", "said"),
    [
        ((X, YES[:10]), {}, "200 inputs, 10 targets"),
        ((X * np.nan, YES), {}, "inputs, row 0"),
        ((X, np.zeros(200, int)), {}, "expected targets that differ"),
        ((X, YES), {"model": torch.nn.Linear(5, 2)}, "Train your own with truestep.fit"),
        ((X, YES), {"target": "y"}, "target"),
        (X, {}, "found ndarray"),
        (None, {}, "expected data to train on"),
    ],
)
def test_data_that_cannot_be_learnt_from_is_refused(source, choices, said, tmp_path):
    with pytest.raises(ts.InputError) as caught:
        ts.train(source, out=tmp_path / "run", show=False, **choices)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


class Flow(IterableDataset):
    def __iter__(self):
        yield from zip(torch.tensor(X), torch.tensor(YES), strict=True)


def test_a_dataset_that_is_only_read_from_its_beginning_is_trained_on_and_resumed(tmp_path):
    source = (Flow(), TensorDataset(torch.tensor(X), torch.tensor(YES)))
    said = []
    whole = ts.train(source, out=tmp_path / "whole", max_steps=17, lr=1e-2, show=False, say=said.append)
    assert "in their own order; resuming gives the same numbers, as far as the first examples tell" in said[0]
    assert whole.metrics["accuracy"] > 0.9
    steady = {"schedule": "constant", "schedule.warmup": 0, "show": False}
    ts.train(source, out=tmp_path / "stopped", max_steps=10, **steady)  # in the middle of an epoch of seven batches
    resumed = ts.train(source, resume=tmp_path / "stopped", max_steps=17, show=False)
    straight = ts.train(source, out=tmp_path / "straight", max_steps=17, **steady)
    assert resumed.results["steps"] == straight.results["steps"] == 17
    for one, other in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(one, other)

    with pytest.raises(ts.InputError, match="expected max_steps for a dataset without a length"):
        ts.train(source, out=tmp_path / "none", show=False)
    with pytest.raises(ts.InputError, match="expected validation data beside a dataset that can't be split"):
        ts.train(Flow(), out=tmp_path / "none", max_steps=3, show=False)
    with pytest.raises(ts.InputError, match="its order is its own"):
        ts.train(source, out=tmp_path / "none", max_steps=3, balance="sampler", show=False)
    assert not (tmp_path / "none").exists()


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_features, num_outputs, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(num_features, width), nn.ReLU(), nn.Linear(width, num_outputs))
        self.register_buffer("scale", torch.full((), 0.5), persistent=False)  # is in no state_dict

    def forward(self, features):
        return self.layers(features * self.scale)
"""


def test_a_model_of_ones_own_is_trained_saved_and_run_again_only_if_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    run = ts.train(
        (X, YES), model="net.py:Net", out="run", epochs=20, lr=0.03, show=False, **{"model.args": {"width": 12}}
    )
    assert run.metrics["accuracy"] > 0.85
    assert run.model.layers[0].out_features == 12
    with pytest.raises(ts.RefusedError, match="a saved model runs none"):
        ts.Predictor.load("run")
    with pytest.raises(ts.InputError, match=r"this run.s is .net\.py:Net., found"):
        ts.Predictor.load("run", own_model="net.py:Other")
    before = torch.get_rng_state()
    again = ts.Predictor.load("run", own_model="net.py:Net")
    assert torch.equal(torch.get_rng_state(), before)
    assert again.predict(X).equals(run.predict(X))

    with pytest.raises(
        ts.RefusedError, match=r"model.name names code, net.py:Net\. .* say it with --model.name net.py:Net"
    ):
        ts.train((X, YES), recipe="run/recipe.toml", out="again", show=False)
    repeated = ts.train((X, YES), recipe="run/recipe.toml", model="net.py:Net", out="again", show=False)
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), repeated.model.parameters(), strict=True))
    with pytest.raises(ts.RefusedError, match="names code"):
        ts.train((X, YES), resume="run", epochs=21, show=False)
    assert ts.train((X, YES), resume="run", epochs=21, model="net.py:Net", show=False).results["epochs"] == 21


def test_weights_are_taken_over_frozen_and_let_go(tmp_path):
    first = ts.train((X, YES), out=tmp_path / "first", epochs=3, show=False)
    said = []
    choices = {"init": str(tmp_path / "first"), "freeze": ["hidden.*"], "epochs": 2, "show": False, "say": said.append}
    three = (X[:, 0] > 0.5).astype(int) + YES
    frozen = ts.train((X, three), out=tmp_path / "frozen", **choices)
    assert any("took 4 of 6 weights" in sentence for sentence in said)
    assert any("output.weight" in sentence for sentence in said)
    assert torch.equal(frozen.model.hidden[0].weight, first.model.hidden[0].weight)
    free = ts.train((X, three), out=tmp_path / "free", **choices, **{"model.unfreeze_epoch": 2})
    assert not torch.equal(free.model.hidden[0].weight, first.model.hidden[0].weight)
    slow = ts.train((X, three), out=tmp_path / "slow", epochs=2, show=False, init=str(tmp_path / "first"),
                    **{"optimizer.lrs": {"hidden.*": 1e-12}})  # fmt: skip
    assert torch.allclose(slow.model.hidden[0].weight, first.model.hidden[0].weight, atol=1e-6)

    with pytest.raises(ts.InputError, match="expected frozen weights, found none"):
        ts.train((X, YES), out=tmp_path / "bad", show=False, **{"model.unfreeze_epoch": 2})
    with pytest.raises(ts.InputError, match="nothing"):
        ts.train((X, YES), out=tmp_path / "bad", show=False, freeze=["nothing.*"])
    assert not (tmp_path / "bad").exists()


def test_a_sampler_draws_rare_classes_as_often_as_others(tmp_path):
    rare = (RNG.random(len(X)) < 0.1).astype(int)
    weights = {}
    for balance in ("none", "sampler"):
        run = ts.train(
            (X * 0, rare), out=tmp_path / balance, epochs=30, balance=balance, lr=3e-3, show=False, valid=0, test=0
        )
        weights[balance] = run.predict(X[:1] * 0)["probability_1"][0]  # inputs say nothing: the share that was seen
    assert weights["none"] == pytest.approx(rare.mean(), abs=0.06)
    assert weights["sampler"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_evaluating_leaves_out_rows_without_a_target_with_a_note_as_training_does(tmp_path, suffix):
    ts.train(FRAME, "y", out=tmp_path / "run", epochs=2, show=False)
    known, gaps = tmp_path / f"known.{suffix}", tmp_path / f"gaps.{suffix}"
    has = np.arange(200) % 10 != 3
    for path, frame in (
        (known, FRAME.filter(has)),
        (gaps, FRAME.with_columns(pl.when(pl.Series(has)).then("y").otherwise(pl.lit("NA")).alias("y"))),
    ):
        getattr(frame, f"write_{suffix}")(path)
    notes = []
    found = evaluate_folder(tmp_path / "run", str(gaps), say=notes.append)
    place = f"gaps.{suffix}, {'line 5' if suffix == 'csv' else 'row 3'}"
    assert notes == [f"20 of 200 rows have no 'y' and are left out (the first: {place})."]
    assert found["metrics"] == evaluate_folder(tmp_path / "run", str(known))["metrics"]
    getattr(FRAME.with_columns(y=pl.lit("NA")), f"write_{suffix}")(gaps)
    with pytest.raises(ts.InputError, match=rf"gaps\.{suffix}, column 'y': .* the whole column is empty"):
        evaluate_folder(tmp_path / "run", str(gaps))


def test_a_resumed_run_says_truly_what_was_changed_and_can_not_go_back(tmp_path):
    run, recipe = tmp_path / "run", tmp_path / "run" / "recipe.toml"
    ts.train((X, YES), out=run, epochs=9, max_steps=10, show=False)  # in the second of its epochs, of 5 updates each
    before = recipe.read_bytes()
    for choices, said in (
        ({"epochs": 1}, "--epochs 1: expected at least 2, because"),
        ({"max_steps": 9}, "--max-steps 9: expected at least 10"),
    ):
        with pytest.raises(ts.InputError, match=said):
            ts.train((X, YES), resume=run, show=False, **choices)
        assert recipe.read_bytes() == before
        told: list[str] = []
        with pytest.raises(ts.InputError, match=said):
            ts.train((X, YES), resume=run, show=False, say=told.append, **choices)
        assert not told, "what was refused has planned nothing"
    ts.train((X, YES), resume=run, show=False, max_minutes=5)
    ts.train((X, YES), resume=run, show=False, epochs=3, max_steps=12)
    ts.train((X, YES), resume=run, show=False)
    comments = [line for line in recipe.read_text().splitlines() if line.startswith("#")]
    assert comments[0] == "# Changed from max_minutes = inf to 5.0."
    assert comments[1].startswith("# Changed from epochs = 9 to 3, max_steps = 10 to 12: the schedule was planned anew")
    assert len(comments) == 2


def test_a_run_whose_data_was_moved_goes_on_from_their_new_place(tmp_path):
    rows = torch.randn(80, 2, generator=torch.Generator().manual_seed(0)).tolist()
    old, new, path = tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "run"
    old.write_text("a,b,y\n" + "".join(f"{a},{b},{'no' if a < b else 'yes'}\n" for a, b in rows))
    choices = {"target": "y", "schedule": "constant", "batch_size": 16, "show": False, "doctor": False}
    whole = ts.train(old, out=tmp_path / "whole", epochs=2, **choices)
    ts.train(old, out=path, epochs=1, **choices)
    (path / "results.json").unlink()  # as if it had been stopped
    old.rename(new)

    with pytest.raises(ts.InputError, match=f"Moved\\? truestep train NEWPLACE --resume {path}"):
        ts.train(resume=path, show=False)
    with pytest.raises(ts.InputError, match=f"Go on with truestep train {new} --resume {path}, or"):
        ts.train(new, out=path, epochs=1, **choices)
    other = tmp_path / "other.csv"
    other.write_text(new.read_text().replace("yes", "no", 1))
    before = (path / "recipe.toml").read_bytes()
    with pytest.raises(ts.RefusedError, match="the data is no longer what this run began with"):
        ts.train(other, resume=path, epochs=2, show=False)
    assert (path / "recipe.toml").read_bytes() == before

    moved = ts.train(new, resume=path, epochs=2, show=False)

    assert moved.recipe.data.source == str(new)
    assert all(torch.equal(a, b) for a, b in zip(moved.model.parameters(), whole.model.parameters(), strict=True))
    assert ts.train(resume=path, epochs=3, show=False).results["epochs"] == 3  # it knows the new place
