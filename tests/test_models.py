"""Models fit the data they are built for, say so when they do not, and learn what they should."""

from __future__ import annotations

import ast
import json
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from truestep import models
from truestep.errors import InputError
from truestep.models import MODELS, arguments_for, build, choose
from truestep.optimizers import build_optimizer, build_schedule

TABLE = {"kind": "table", "num_numeric": 4, "cardinalities": [3, 5]}
NUMBERS = {"kind": "table", "num_numeric": 4, "cardinalities": []}
CATEGORIES = {"kind": "table", "num_numeric": 0, "cardinalities": [3, 5]}
VECTOR = {"kind": "vector", "num_features": 13}
IMAGE = {"kind": "image", "channels": 1, "height": 8, "width": 8}
COLOUR = {"kind": "image", "channels": 3, "height": 17, "width": 30}
SPECK = {"kind": "image", "channels": 1, "height": 3, "width": 8}
ARRAY = {"kind": "array", "shape": [2, 3, 4, 5]}


def inputs_like(spec, num=6):
    """What an encoder with this spec gives."""
    match spec["kind"]:
        case "table":
            numeric = torch.randn(num, spec["num_numeric"])
            categories = torch.stack([torch.randint(n, (num,)) for n in spec["cardinalities"] or [1]], 1)
            inputs = {"numeric": numeric, "categories": categories}
            return {key: inputs[key] for key in inputs if spec["num_numeric" if key == "numeric" else "cardinalities"]}
        case "vector":
            return torch.randn(num, spec["num_features"])
        case "image":
            return torch.randn(num, spec["channels"], spec["height"], spec["width"])
        case _:
            return torch.randn(num, *spec["shape"])


def call(model, inputs):
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


@pytest.mark.parametrize("spec", [TABLE, NUMBERS, CATEGORIES, VECTOR, IMAGE, COLOUR, SPECK, ARRAY], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_fits_the_data_it_is_for(name, spec):
    if name == "cnn" and spec not in (IMAGE, COLOUR):
        with pytest.raises(
            InputError, match=r"^model 'cnn': expected images of at least 4x4 pixels, found .* Use mlp\.$"
        ):
            arguments_for(name, spec, 3, {})
        return
    arguments = arguments_for(name, spec, 3, {})
    model = build(name, json.loads(json.dumps(arguments)))
    outputs = call(model, inputs_like(spec))
    assert outputs.shape == (6, 3)
    outputs.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("spec", "name"), [(TABLE, "mlp"), (VECTOR, "mlp"), (ARRAY, "mlp"), (SPECK, "mlp"), (IMAGE, "cnn")], ids=str
)
def test_the_model_chosen_is_one_that_fits(spec, name):
    assert choose(spec) == name
    assert arguments_for(name, spec, 1, {})


def test_the_arguments_chosen_can_be_given_again():
    arguments = arguments_for("mlp", TABLE, 3, {"hidden": [16], "dropout": 0})
    assert arguments == {"num_numeric": 4, "cardinalities": [3, 5], "num_outputs": 3, "hidden": [16], "dropout": 0}
    assert arguments_for("mlp", TABLE, 3, arguments) == arguments
    assert len(build("mlp", arguments).hidden) == 3


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("mpl", {}, r"^model: expected one of linear, mlp, cnn, found 'mpl'\. Did you mean 'mlp'\?$"),
        (
            "mlp",
            {"hiden": [3]},
            r"^model\.args: expected hidden, dropout for mlp, found 'hiden'\. Did you mean 'hidden'\?$",
        ),
        ("linear", {"hidden": [3]}, r"^model\.args: expected no arguments for linear, found 'hidden'\.$"),
        ("mlp", {"num_numeric": 9}, r"^model\.args\.num_numeric: the data have 64, found 9\. Leave it out\.$"),
        (
            "mlp",
            {"hidden": 9},
            r"^model\.args\.hidden: expected a list of whole numbers such as \[128, 64\], found 9\.$",
        ),
        ("mlp", {"hidden": [9, 0]}, r"^model\.args\.hidden: expected a list of whole numbers .* found \[9, 0\]\.$"),
        ("mlp", {"dropout": 1.0}, r"^model\.args\.dropout: expected a number in \[0, 1\), found 1\.0\.$"),
        ("cnn", {"filters": 1.5}, r"^model\.args\.filters: expected a whole number above 0, found 1\.5\.$"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(name, overrides, message):
    with pytest.raises(InputError, match=message):
        arguments_for(name, IMAGE, 10, overrides)


def test_arguments_that_make_no_model_are_refused():
    with pytest.raises(InputError, match=r"^model 'cnn': .*unexpected keyword argument 'depth'"):
        build("cnn", {**arguments_for("cnn", IMAGE, 10, {}), "depth": 3})
    with pytest.raises(InputError, match=r"^model: expected one of linear, mlp, cnn, found 'resnet'\.$"):
        build("resnet", {})


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_category_never_seen_says_nothing(name):
    """Column by column: category 0 gives the same output wherever the known categories were moved in training."""
    model = build(name, arguments_for(name, CATEGORIES, 1, {})).eval()
    unseen = torch.zeros(1, 2, dtype=torch.int64)
    before = model(categories=unseen)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.ndim == 2 and (name == "linear" or len(p) in {3, 5})], lr=0.1
    )
    for _ in range(3):
        optimizer.zero_grad()
        model(categories=torch.tensor([[1, 1], [2, 4]])).sum().backward()
        optimizer.step()
    assert torch.equal(model(categories=unseen), before)
    assert not torch.equal(model(categories=unseen + 1), before)


@pytest.mark.parametrize("name", MODELS)
def test_the_start_is_a_function_of_the_global_seed(name):
    def start(seed):
        torch.manual_seed(seed)
        model = build(name, arguments_for(name, IMAGE, 10, {}))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(start(1), start(1))
    assert torch.equal(start(1), start(2)) == (name == "linear")  # which starts at zero


def test_an_image_has_the_same_outputs_in_any_batch_and_mode():
    """What makes several processes equal one: no dropout, no statistics over the batch."""
    model = build("cnn", arguments_for("cnn", IMAGE, 10, {}))
    images = inputs_like(IMAGE, 5)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), alone)
    assert torch.equal(model(images), model.eval()(images))


def test_each_model_file_stands_alone():
    for path in Path(models.__file__).parent.glob("[!_]*.py"):
        tree = ast.parse(path.read_text())
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert {module.split(".")[0] for module in modules} <= {"torch", *sys.stdlib_module_names}, path.name


@pytest.mark.parametrize(("name", "least", "epochs"), [("linear", 0.92, 10), ("mlp", 0.95, 15), ("cnn", 0.975, 12)])
def test_digits_are_learnt(name, least, epochs):
    pixels, targets = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8)
    inputs, targets = (inputs - inputs.mean()) / inputs.std(), torch.tensor(targets)
    torch.manual_seed(0)
    order = torch.randperm(len(targets))
    test, train = order[:360], order[360:]

    model = build(name, arguments_for(name, IMAGE, 10, {}))
    optimizer = build_optimizer("adamw", model)
    schedule = build_schedule("cosine", optimizer, total_steps=epochs * math.ceil(len(train) / 32), warmup_steps=20)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()

    assert (model.eval()(inputs[test]).argmax(1) == targets[test]).float().mean() >= least
