"""Weights are taken by name and shape and nothing else is, and frozen ones stay until they are unfrozen."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from truestep.errors import InputError, RefusedError
from truestep.folder import save_model
from truestep.models import arguments_for, build
from truestep.optimizers import OPTIMIZERS, build_optimizer, build_schedule
from truestep.transfer import freeze, initialise

IMAGE = {"kind": "image", "channels": 1, "height": 8, "width": 8}
NEXT = {"kind": "tokens", "vocabulary": 20, "length": 6, "causal": True}


def network(outputs=3, seed=0, name="cnn"):
    torch.manual_seed(seed)
    return build(name, arguments_for(name, IMAGE, outputs, {}))


def saved(model, path, prefix=""):
    save_file({prefix + name: tensor.clone() for name, tensor in model.state_dict().items()}, path)
    return path


def differing(model, other):
    theirs = other.state_dict()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, theirs[name])}


def test_all_weights_are_taken_from_a_run_its_model_folder_or_a_file(tmp_path):
    source = network(seed=1)
    save_model(tmp_path / "model", source, {})
    for path in (tmp_path, tmp_path / "model", saved(source, tmp_path / "weights.safetensors")):
        model, said = network(), []
        assert differing(model, source)
        report = initialise(model, path, said.append)
        assert not differing(model, source)
        assert (len(report.matched), report.missing, report.misfits, report.unused) == (
            len(source.state_dict()),
            (),
            (),
            (),
        )
        assert [sentence.rpartition(": ")[2] for sentence in said] == ["took 12 of 12 weights"]


def test_a_new_head_keeps_its_own_weights_and_that_is_said(tmp_path):
    source, model = network(10, seed=1), network(3)
    before, said = copy.deepcopy(model), []
    report = initialise(model, saved(source, tmp_path / "w.safetensors"), said.append)
    assert report.misfits == ("output.weight", "output.bias")
    assert differing(model, before) == set(report.matched) == set(model.state_dict()) - set(report.misfits)
    assert said[1] == "other shape: output.weight (3, 128) here, (10, 128) there, output.bias (3,) here, (10,) there"


def test_what_is_missing_and_what_is_not_used_are_said(tmp_path):
    said = []
    source = nn.ModuleDict({"a": nn.Linear(2, 2), **{f"old{n}": nn.Linear(2, 2, bias=False) for n in range(7)}})
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    report = initialise(model, saved(source, tmp_path / "w.safetensors"), said.append)
    assert report.missing == ("b.weight", "b.bias")
    assert said[1] == "not in it: b.weight, b.bias"
    assert said[2].startswith("not used: old0.weight, ")
    assert said[2].endswith("old4.weight, ... (7 in all)")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "backbone."])
def test_prefixes_are_seen_through(tmp_path, prefix):
    source, model = network(seed=1), network()
    initialise(model, saved(source, tmp_path / "w.safetensors", prefix))
    assert not differing(model, source)
    wrapped = nn.ModuleDict({"backbone": network(), "head": nn.Linear(3, 3)})  # and the other way round
    report = initialise(wrapped, saved(source, tmp_path / "w.safetensors"))
    assert not differing(wrapped["backbone"], source)
    assert report.missing == ("head.weight", "head.bias")


def test_prefixes_that_mean_something_stay(tmp_path):
    source = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    model = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    initialise(model, saved(source, tmp_path / "w.safetensors"))
    assert not differing(model, source)


def test_weights_are_converted_and_tied_ones_stay_tied(tmp_path):
    def language_model():
        return build("transformer", arguments_for("transformer", NEXT, 20, {"width": 16, "layers": 1}))

    source, model = language_model(), language_model()
    state = {name: tensor.half() for name, tensor in source.state_dict().items() if name != "output.weight"}
    save_file(state, tmp_path / "w.safetensors")
    report = initialise(model, tmp_path / "w.safetensors")
    assert report.missing == ()  # the head is the embedding, which is there
    assert model.output.weight is model.embeddings[0].weight
    assert model.output.weight.dtype == torch.float32
    assert torch.equal(model.output.weight, source.output.weight.half().float())


def test_weights_that_do_not_fit_at_all_are_refused(tmp_path):
    path = saved(nn.Linear(2, 2), tmp_path / "w.safetensors")
    with pytest.raises(
        InputError, match=r"expected weights that fit this model, found none: the model has '.*', the file '"
    ):
        initialise(network(), path)
    with pytest.raises(InputError, match=r"found none: 'weight' is \(3, 2\) here, \(2, 2\) there\.$"):
        initialise(nn.Linear(2, 3), path)


def test_files_that_hold_no_weights_are_refused(tmp_path):
    class Planted:
        def __reduce__(self):
            return print, ("this ran",)

    (tmp_path / "w.pt").write_bytes(pickle.dumps(Planted()))
    with pytest.raises(InputError, match=r"w\.pt: expected the folder of a run or a \.safetensors file\. Convert it: "):
        initialise(network(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"none\.safetensors: no such file\.$"):
        initialise(network(), tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"expected the folder of a run, found no model/model\.safetensors in it\.$"):
        initialise(network(), tmp_path)
    (tmp_path / "w.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(RefusedError, match=r"w\.safetensors: damaged \("):
        initialise(network(), tmp_path / "w.safetensors")


def test_a_damaged_run_is_refused(tmp_path):
    save_model(tmp_path / "model", network(), {})
    weights = bytearray((tmp_path / "model" / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (tmp_path / "model" / "model.safetensors").write_bytes(weights)
    with pytest.raises(RefusedError, match=r"damaged \(its SHA-256 is not the one in model\.json\)\.$"):
        initialise(network(), tmp_path)


# Freezing


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["stages"], {"hidden.1.weight", "hidden.1.bias", "output.weight", "output.bias"}),
        (["stages.*", "hidden"], {"output.weight", "output.bias"}),
        (
            ["*.weight"],
            {"stages.0.bias", "stages.2.bias", "stages.5.bias", "stages.7.bias", "hidden.1.bias", "output.bias"},
        ),
    ],
)
def test_patterns_name_weights_and_modules(patterns, left):
    model = network()
    frozen = freeze(model, patterns)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == left
    assert len(frozen.parameters) == 12 - len(left)


def test_a_pattern_for_nothing_is_refused_with_what_is_near():
    with pytest.raises(
        InputError, match=r"^model\.freeze: no weights are called 'stage\.\*'\. Did you mean 'stages'\?$"
    ):
        freeze(network(), ["hidden", "stage.*"])
    with pytest.raises(
        InputError, match=r"^model\.freeze: no weights are called 'xyz'\. Known: stages, hidden, output\.$"
    ):
        freeze(network(), ["xyz"])
    with pytest.raises(InputError, match=r"^model\.freeze: expected weights left to train, found none\."):
        freeze(network(), ["*"])


def losses(model, optimizer, steps, scheduler=None):
    images = torch.linspace(-1, 1, 64 * 4).view(4, 1, 8, 8)

    def closure():
        optimizer.zero_grad()
        loss = (model(images) - 1).square().mean()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        if scheduler:
            scheduler.step()


@pytest.mark.parametrize("name", [*OPTIMIZERS, "torch.optim:NAdam"])
def test_frozen_weights_do_not_move_and_unfrozen_ones_do(name):
    model = network(name="mlp")
    frozen = freeze(model, ["hidden.3"])
    weight_decay = None if name == "lbfgs" else 0.5
    optimizer = build_optimizer(name, model, weight_decay=weight_decay)
    before = copy.deepcopy(model)
    losses(model, optimizer, 3)
    assert differing(model, before) == set(model.state_dict()) - {"hidden.3.weight", "hidden.3.bias"}
    frozen.unfreeze()
    losses(model, optimizer, 3)
    assert differing(model, before) == set(model.state_dict())


def test_unfreezing_can_be_resumed():
    def begun():
        model = network(name="mlp").eval()  # without dropout
        frozen = freeze(model, ["hidden.0"])
        return model, frozen, build_optimizer("adamw", model)

    model, frozen, optimizer = begun()
    losses(model, optimizer, 2)
    state = copy.deepcopy(optimizer.state_dict())
    resumed, frozen_again, resumed_optimizer = begun()
    resumed.load_state_dict(model.state_dict())
    resumed_optimizer.load_state_dict(state)
    for each in (frozen, frozen_again):
        each.unfreeze()
    losses(model, optimizer, 2)
    losses(resumed, resumed_optimizer, 2)
    assert not differing(model, resumed)


def test_a_frozen_batch_norm_keeps_its_statistics_and_uses_them():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False))
    model = nn.ModuleDict({"body": body, "norm": nn.BatchNorm1d(4)})
    inputs = torch.randn(50, 4) * 3 + 1
    body(inputs)  # so that the statistics are not those of a fresh one
    frozen = freeze(model, ["body"])
    before = copy.deepcopy(body)
    expected = body.eval()(inputs)
    model.train()
    assert torch.equal(body(inputs), expected)
    assert not differing(body, before)
    assert torch.equal(copy.deepcopy(body).train()(inputs), expected)
    model["norm"](inputs)
    assert bool(model["norm"].running_mean.any())  # one that is not frozen learns
    frozen.unfreeze()
    model.train()
    body(inputs)
    assert {"1.running_mean", "2.running_mean"} <= differing(body, before)


def test_schedules_scale_each_learning_rate_from_its_own():
    for name in ("cosine", "plateau"):
        model = network()
        optimizer = build_optimizer("sgd", model, lr=0.1, lrs={"stages.*": 0.01, "hidden": 0.05})
        scheduler = build_schedule(name, optimizer, total_steps=10, args={"patience": 0} if name == "plateau" else {})
        first = [group["lr"] for group in optimizer.param_groups]
        for _ in range(5):
            optimizer.step()
            scheduler.step(*([1.0] if name == "plateau" else []))
        now = [group["lr"] for group in optimizer.param_groups]
        assert len(set(first)) == 3
        factors = [rate / start for rate, start in zip(now, first, strict=True)]
        assert factors == pytest.approx([factors[0]] * len(factors), rel=1e-4)  # plateau leaves out changes below 1e-8
        assert factors[0] < 0.6
