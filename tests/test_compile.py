"""A compiled run: the same files under the same names, the same bits when it goes on, and one line where nothing compiles."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from safetensors.torch import load_file

import truestep as ts
from truestep import distributed
from truestep.errors import InputError, Interrupted
from truestep.recipe import Recipe

CHOICES = {"model.name": "mlp", "model.args": {"dropout": 0.3, "hidden": [16]}, "train.epochs": 2, "train.batch_size": 64,
           "train.ema_decay": 0.9, "run.compile": True}  # fmt: skip


def trained(folder, **choices):
    return ts.train("digits", recipe=Recipe().changed(CHOICES | choices), out=folder, show=False, doctor=False)


def same(first, second):
    weights, others = (load_file(folder / "model" / "model.safetensors") for folder in (first, second))
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def test_what_is_compiled_is_trained_and_what_is_kept_is_the_model(tmp_path, monkeypatch):
    """With a compiler that changes no operation, nothing may be another number."""
    made = torch.compile
    monkeypatch.setattr(torch, "compile", partial(made, backend="eager"))
    run = trained(tmp_path / "compiled")
    plain = trained(tmp_path / "plain", **{"run.compile": False})

    assert same(tmp_path / "compiled", tmp_path / "plain")
    assert run.metrics == plain.metrics
    again = ts.Predictor.load(tmp_path / "compiled")
    assert run.predict("digits").equals(again.predict("digits"))


def test_the_wrapper_of_a_compiler_is_taken_off():
    model = torch.nn.Linear(2, 1)

    assert distributed.unwrap(torch.compile(model)) is model


def test_a_model_that_cannot_be_compiled_is_said_in_one_line(tmp_path, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here\nand many more lines")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    with pytest.raises(InputError, match=r"^run\.compile: this model can't be compiled here \(.*\)\. Leave it out\.$"):
        trained(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    trained(tmp_path / "whole")
    calls = iter([None] * 25 + [Interrupted("asked to stop", 143)])
    with monkeypatch.context() as patch:
        patch.setattr("truestep.run._stop_at", lambda _: lambda: next(calls))
        with pytest.raises(Interrupted):
            trained(tmp_path / "stopped")
    torch.compiler.reset()  # a new process has compiled nothing yet
    ts.train(resume=tmp_path / "stopped", show=False, doctor=False)

    assert same(tmp_path / "whole", tmp_path / "stopped")
