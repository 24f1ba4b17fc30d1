"""Tuning keeps what wins, changes nothing that the user has said, and nothing but how the run is computed."""

from __future__ import annotations

import pytest
import torch

import truestep as ts
from truestep import tuning
from truestep.assembly import plan
from truestep.device import choose
from truestep.errors import InputError
from truestep.recipe import Recipe

SMALL = {"data.source": "digits", "model.args": {"filters": 2, "hidden": 8}, "train.max_steps": 4}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(tuning, "_cores", lambda: 2)


def tuned(choices, **costs):
    """Tune with a clock by which an update takes what its choices cost."""
    asked = Recipe().changed(SMALL | choices)
    planned = plan(asked, "digits", choose("cpu"))
    sentences: list[str] = []

    def seconds(tried):
        return 1e-3 * sum(costs.get(str(tried.recipe.get(name)), 1.0) for name in ("run.threads", "model.layout"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_seconds", seconds)
        return tuning.tuned(planned, asked, sentences.append).recipe, sentences


def test_what_is_fastest_is_kept_and_everything_that_was_tried_is_told():
    recipe, sentences = tuned({}, **{"2": 0.5, "channels-last": 0.2})

    assert (recipe.run.threads, recipe.model.layout) == (2, "channels-last")
    assert sentences[0] == "run.threads  1: 1.20 ms, 2: 0.70 ms an update; 2 it is"
    assert sentences[1] == "model.layout  channels-last: 0.70 ms, contiguous: 1.50 ms an update; channels-last it is"


def test_a_gain_that_is_not_sure_changes_nothing():
    recipe, sentences = tuned({}, **{"2": 0.97})

    assert recipe.run.threads == 1
    assert sentences[0].endswith("1 it is")


def test_what_the_user_has_said_stays():
    recipe, sentences = tuned({"model.layout": "channels-last", "run.threads": 1}, **{"2": 0.1, "contiguous": 0.1})

    assert (recipe.run.threads, recipe.model.layout) == (1, "channels-last")
    assert len(sentences) == 1


def test_a_tuned_run_is_the_run_with_those_choices(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "SECONDS", 0.0)
    sentences: list[str] = []
    run = ts.train("digits", recipe=Recipe().changed(SMALL), out=tmp_path / "tuned", show=False, tune_speed=True,
                   say=sentences.append)  # fmt: skip
    chosen = {"run.threads": run.recipe.run.threads, "model.layout": run.recipe.model.layout}
    again = ts.train("digits", recipe=Recipe().changed(SMALL | chosen), out=tmp_path / "said", show=False)

    assert [sentence.split()[0] for sentence in sentences[2:4]] == ["run.threads", "model.layout"]
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
    assert run.metrics == again.metrics


class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.tensor([float(index), 1.0]), torch.tensor(float(index % 7))


def test_readers_are_tried_where_examples_are_read_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "SECONDS", 0.0)
    sentences: list[str] = []
    ts.train(Slow(), out=tmp_path / "run", show=False, tune_speed=True, say=sentences.append, epochs=1, model="linear")

    (told,) = [sentence for sentence in sentences if sentence.startswith("data.workers")]
    assert [part.split(":")[0] for part in told.removeprefix("data.workers  ").split(", ")] == ["0", "1", "2"]


def test_a_run_that_goes_on_is_not_tuned_again(tmp_path):
    ts.train("digits", recipe=Recipe().changed(SMALL), out=tmp_path / "run", show=False)
    sentences: list[str] = []
    ts.train(resume=tmp_path / "run", max_steps=6, show=False, tune_speed=True, say=sentences.append)

    assert "tune_speed: a run that goes on keeps what it was tuned to" in sentences


def test_several_processes_would_have_to_agree(monkeypatch):
    monkeypatch.setattr("truestep.distributed.world_size", lambda: 2)
    with pytest.raises(InputError, match=r"^tune_speed: expected one process, found several\."):
        tuning.tuned(None, None)  # type: ignore[arg-type]
