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
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from truestep import models
from truestep.errors import InputError, RefusedError
from truestep.models import MODELS, arguments_for, build, choose
from truestep.models.transformer import Attention, rotated
from truestep.nest import map_tensors
from truestep.optimizers import build_optimizer, build_schedule

TABLE = {"kind": "table", "num_numeric": 4, "cardinalities": [3, 5]}
NUMBERS = {"kind": "table", "num_numeric": 4, "cardinalities": []}
CATEGORIES = {"kind": "table", "num_numeric": 0, "cardinalities": [3, 5]}
VECTOR = {"kind": "vector", "num_features": 13}
IMAGE = {"kind": "image", "channels": 1, "height": 8, "width": 8}
COLOUR = {"kind": "image", "channels": 3, "height": 17, "width": 30}
SPECK = {"kind": "image", "channels": 1, "height": 3, "width": 8}
ARRAY = {"kind": "array", "shape": [2, 3, 4, 5]}
PHOTO = {"kind": "image", "channels": 3, "height": 128, "width": 96}
TEXT = {"kind": "tokens", "vocabulary": 50, "length": 12, "causal": False}
NEXT = {"kind": "tokens", "vocabulary": 50, "length": 12, "causal": True}
SERIES = {"kind": "sequence", "length": 9, "num_numeric": 2, "cardinalities": [3, 5]}
READINGS = {"kind": "sequence", "length": 9, "num_numeric": 2, "cardinalities": []}
MARKS = {"kind": "sequence", "length": 9, "num_numeric": 0, "cardinalities": [3]}
FLAT = [TABLE, NUMBERS, CATEGORIES, VECTOR, SPECK, ARRAY]
IMAGES = [IMAGE, COLOUR, PHOTO]
SEQUENCES = [SERIES, READINGS, MARKS]
FOR = {
    "linear": FLAT + IMAGES + SEQUENCES,
    "mlp": FLAT + IMAGES + SEQUENCES,
    "cnn": IMAGES,
    "resnet": IMAGES,
    "bag": [TEXT],
    "recurrent": [TEXT, NEXT, *SEQUENCES],
    "transformer": [TEXT, NEXT, *SEQUENCES],
}


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
        case "tokens":
            lengths = torch.tensor([12, 1, 7, 3, 12, 5])[:num]
            tokens = torch.randint(1, spec["vocabulary"], (num, int(lengths.max())))
            if spec["causal"]:
                return {"tokens": tokens}
            return {"tokens": tokens * (torch.arange(tokens.shape[1]) < lengths[:, None]), "lengths": lengths}
        case "sequence":
            numeric = torch.randn(num, spec["length"], spec["num_numeric"])
            categories = [torch.randint(n, (num, spec["length"])) for n in spec["cardinalities"]]
            inputs = {"numeric": numeric} if spec["num_numeric"] else {}
            return inputs | ({"categories": torch.stack(categories, 2)} if categories else {})
        case _:
            return torch.randn(num, *spec["shape"])


def call(model, inputs):
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


@pytest.mark.parametrize("spec", FLAT + IMAGES + SEQUENCES + [TEXT, NEXT], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_fits_the_data_it_is_for_and_refuses_others(name, spec):
    if spec not in FOR[name]:
        with pytest.raises(InputError, match=rf"^model '{name}': expected .*, found .* Use {choose(spec)}\.$"):
            arguments_for(name, spec, 3, {})
        return
    num_outputs = 50 if spec is NEXT else 3
    arguments = arguments_for(name, spec, num_outputs, {})
    model = build(name, json.loads(json.dumps(arguments)))
    outputs = call(model, inputs_like(spec))
    assert outputs.shape == ((6, 12, 50) if spec is NEXT else (6, 3))
    outputs.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (TABLE, "mlp"),
        (VECTOR, "mlp"),
        (ARRAY, "mlp"),
        (SPECK, "mlp"),
        (IMAGE, "cnn"),
        (PHOTO, "resnet"),
        (TEXT, "bag"),
        (NEXT, "transformer"),
        (SERIES, "recurrent"),
    ],
    ids=str,
)
def test_the_model_chosen_is_one_that_fits(spec, name):
    assert choose(spec) == name
    assert arguments_for(name, spec, 1, {})


def test_the_arguments_chosen_can_be_given_again():
    arguments = arguments_for("mlp", TABLE, 3, {"hidden": [16], "dropout": 0})
    assert arguments == {
        "num_numeric": 4,
        "cardinalities": [3, 5],
        "num_outputs": 3,
        "hidden": [16],
        "dropout": 0,
        "norm": "none",
    }
    assert arguments_for("mlp", TABLE, 3, arguments) == arguments
    assert len(build("mlp", arguments).hidden) == 3


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "mpl",
            {},
            r"^model: expected one of linear, mlp, .*, file\.py:Class or package\.module:Class, found 'mpl'\. Did you mean 'mlp'\?$",
        ),
        (
            "mlp",
            {"hiden": [3]},
            r"^model\.args: expected hidden, dropout, norm for mlp, found 'hiden'\. Did you mean 'hidden'\?$",
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
        (
            "mlp",
            {"norm": "layers"},
            r"^model\.args\.norm: expected one of none, layer, found 'layers'\. Did you mean 'layer'\?$",
        ),
        ("resnet", {"blocks": 3}, r"^model\.args\.blocks: expected a list of whole numbers such as \[.*\], found 3\.$"),
        ("cnn", {"filters": 1.5}, r"^model\.args\.filters: expected a whole number above 0, found 1\.5\.$"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(name, overrides, message):
    with pytest.raises(InputError, match=message):
        arguments_for(name, IMAGE, 10, overrides)


def test_arguments_that_make_no_model_are_refused():
    with pytest.raises(InputError, match=r"^model 'cnn': .*unexpected keyword argument 'depth'"):
        build("cnn", {**arguments_for("cnn", IMAGE, 10, {}), "depth": 3})
    with pytest.raises(
        InputError, match=r"^model: expected one of linear, .*, found 'resnext'\. Did you mean 'resnet'\?$"
    ):
        build("resnext", {})
    with pytest.raises(
        InputError, match=r"^model 'transformer': width: expected a multiple of twice the heads, 8, found 12$"
    ):
        build("transformer", arguments_for("transformer", TEXT, 3, {"width": 12}))
    with pytest.raises(
        InputError, match=r"^model\.args\.bidirectional: the data have False, found True\. Leave it out\.$"
    ):
        arguments_for("recurrent", NEXT, 50, {"bidirectional": True})
    with pytest.raises(InputError, match=r"^model\.args\.bidirectional: expected true or false, found 1\.$"):
        arguments_for("recurrent", TEXT, 50, {"bidirectional": 1})


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("mlp", {"hidden": [1] * 1_000_000}),
        ("mlp", {"cardinalities": [2] * 1_000_000}),
        ("transformer", {"layers": 10**9}),
        ("recurrent", {"layers": 10**9}),
        ("resnet", {"blocks": [10**9, -(10**9)]}),
        ("resnet", {"blocks": [0] * 1_000_000}),
        ("cnn", {"height": 10**300, "width": 10**300}),
    ],
    ids=str,
)
@pytest.mark.timeout(5)
def test_a_damaged_file_can_not_ask_for_endless_layers(name, args):
    spec = {"transformer": TEXT, "recurrent": TEXT, "mlp": TABLE}.get(name, IMAGE)
    with torch.device("meta"), pytest.raises(InputError):
        build(name, arguments_for(name, spec, 3, {}) | args)


def test_code_that_a_file_names_is_not_run_unless_trusted(tmp_path):
    (tmp_path / "net.py").write_text("raise SystemExit('this was run')")
    with pytest.raises(RefusedError, match=r"^the model is '.*net\.py:Net', which is code, .*: --model .*net\.py:Net$"):
        build(f"{tmp_path}/net.py:Net", {})
    with pytest.raises(InputError, match=r"this was run \(net\.py, line 1\)$"):
        build(f"{tmp_path}/net.py:Net", {}, trusted=True)


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
        model = build(name, arguments_for(name, FOR[name][0], 10, {}))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(start(1), start(1))
    assert torch.equal(start(1), start(2)) == (name == "linear")  # which starts at zero


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_an_image_has_the_same_outputs_in_any_batch_and_mode(name):
    """What makes several processes equal one: no dropout, no statistics over the batch."""
    model = lively(build(name, arguments_for(name, IMAGE, 10, {})))
    images = inputs_like(IMAGE, 5)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(model(images), alone)
    assert torch.equal(model(images), model.eval()(images))


@pytest.mark.parametrize(("name", "spec"), [(name, spec) for name in FOR for spec in FOR[name]], ids=str)
def test_an_example_has_the_same_outputs_whatever_else_is_in_its_batch(name, spec):
    model = lively(build(name, arguments_for(name, spec, 50, {}))).eval().double()
    inputs = map_tensors(lambda part: part.double() if part.is_floating_point() else part, inputs_like(spec))
    together = call(model, inputs)
    for index in range(6):
        one = (
            {key: part[index : index + 1] for key, part in inputs.items()}
            if isinstance(inputs, dict)
            else inputs[[index]]
        )
        torch.testing.assert_close(call(model, one)[0], together[index], rtol=1e-9, atol=1e-9)


def lively(model):
    """The model with no weight at zero, so that nothing is equal only because nothing is there."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


# Texts and series

READERS = [
    ("bag", {}),
    ("recurrent", {"bidirectional": True, "layers": 2}),
    ("recurrent", {"cell": "gru"}),
    ("transformer", {}),
]


@pytest.mark.parametrize(("name", "args"), READERS, ids=str)
def test_padding_changes_nothing(name, args):
    model = build(name, arguments_for(name, TEXT, 3, args)).eval()
    inputs = inputs_like(TEXT)
    outputs = model(**inputs)
    padded = F.pad(inputs["tokens"], (0, 9))
    torch.testing.assert_close(model(padded, inputs["lengths"]), outputs, rtol=0, atol=1e-6)
    padded[padded == 0] = 17  # and what stands there is not read
    torch.testing.assert_close(model(padded, inputs["lengths"]), outputs, rtol=0, atol=1e-6)
    for tokens, length, expected in zip(inputs["tokens"], inputs["lengths"], outputs, strict=True):
        torch.testing.assert_close(model(tokens[None, :length])[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "args"), READERS, ids=str)
def test_gradients_do_not_depend_on_padding(name, args):
    model = lively(build(name, arguments_for(name, TEXT, 3, args | {"dropout": 0})))
    inputs = inputs_like(TEXT)

    def gradients(tokens):
        model.zero_grad()
        model(tokens, inputs["lengths"]).square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    torch.testing.assert_close(
        gradients(F.pad(inputs["tokens"], (0, 9))), gradients(inputs["tokens"]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("name", "args"), READERS, ids=str)
def test_a_text_without_tokens_gives_finite_outputs_and_gradients(name, args):
    model = build(name, arguments_for(name, TEXT, 3, args))
    outputs = model(torch.tensor([[0, 0], [4, 5]]), torch.tensor([0, 2]))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("name", "args"), [("recurrent", {"layers": 2}), ("transformer", {})], ids=str)
def test_a_later_token_changes_no_earlier_answer(name, args):
    model = lively(build(name, arguments_for(name, NEXT, 50, args))).eval()
    tokens = torch.randint(1, 50, (3, 12))
    before = model(tokens)
    for place in (1, 6, 11):
        changed = tokens.clone()
        changed[:, place] = changed[:, place] % 49 + 1
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-6)
        assert (after[:, place:] - before[:, place:]).abs().amax(2).min() > 1e-4  # and each later one does see it


def test_order_matters_except_in_a_bag():
    tokens = torch.tensor([[3, 9, 4, 8, 2]])
    for name, args in READERS:
        model = lively(build(name, arguments_for(name, TEXT, 3, args))).eval()
        assert torch.allclose(model(tokens), model(tokens.flip(1)), atol=1e-5) == (name == "bag")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_recurrent_network_is_that_of_torch_on_packed_sequences(cell, bidirectional):
    args = {"cell": cell, "bidirectional": bidirectional, "layers": 2, "width": 16}
    model = lively(build("recurrent", arguments_for("recurrent", TEXT, 3, args))).eval()
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    packed = kind(16, 16, num_layers=2, bidirectional=bidirectional, batch_first=True)
    state = {}
    for layer, networks in enumerate(model.layers):
        for network, suffix in zip(networks, ("", "_reverse"), strict=False):
            state |= {f"{key[:-1]}{layer}{suffix}": value for key, value in network.state_dict().items()}
    packed.load_state_dict(state)

    inputs = inputs_like(TEXT)
    states = model.embeddings[0](inputs["tokens"])
    _, ends = packed(pack_padded_sequence(states, inputs["lengths"], batch_first=True, enforce_sorted=False))
    ends = ends[0] if cell == "lstm" else ends
    ends = torch.cat(list(ends[-2:] if bidirectional else ends[-1:]), 1)
    torch.testing.assert_close(model(**inputs), model.output(ends), rtol=0, atol=1e-6)


def test_the_lstm_is_the_formula():
    """Hochreiter and Schmidhuber's cell, step by step."""
    model = lively(build("recurrent", arguments_for("recurrent", READINGS, 3, {"width": 4}))).eval()
    numeric = inputs_like(READINGS)["numeric"]
    network = model.layers[0][0]
    hidden, cell = torch.zeros(6, 4), torch.zeros(6, 4)
    for step in numeric.unbind(1):
        gates = step @ network.weight_ih_l0.T + hidden @ network.weight_hh_l0.T
        enter, forget, new, leave = (gates + network.bias_ih_l0 + network.bias_hh_l0).chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
    torch.testing.assert_close(model(numeric=numeric), model.output(hidden), rtol=0, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_formula(causal):
    attention = Attention(8, 2, 0.0, causal=causal)
    states = torch.randn(3, 5, 8)
    query, key, value = attention.query_key_value(states).chunk(3, 2)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = rotated(query[..., head]) @ rotated(key[..., head]).mT / math.sqrt(4)
        if causal:
            scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(-1) @ value[..., head])
    torch.testing.assert_close(attention(states), attention.output(torch.cat(heads, 2)), rtol=0, atol=1e-6)


def test_rotated_products_depend_on_the_distance_only():
    query, key = torch.randn(1, 8).expand(20, 8), torch.randn(1, 8).expand(20, 8)
    products = rotated(query) @ rotated(key).T
    for distance in (-3, 0, 5):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)
    assert products.diagonal(0)[0] != products.diagonal(1)[0]
    torch.testing.assert_close(rotated(query).norm(dim=1), query.norm(dim=1))  # a rotation keeps lengths


@pytest.mark.parametrize("name", ["resnet", "recurrent", "transformer", "bag"])
def test_gradients_are_those_of_small_differences(name):
    small = {
        "resnet": (IMAGE | {"height": 4, "width": 4}, {"filters": 2, "blocks": [1, 1]}),
        "recurrent": (TEXT, {"width": 2, "bidirectional": True, "dropout": 0}),
        "transformer": (TEXT, {"width": 4, "heads": 1, "layers": 1, "dropout": 0}),
        "bag": (TEXT, {"width": 2, "dropout": 0}),
    }
    spec, args = small[name]
    model = lively(build(name, arguments_for(name, spec, 2, args))).double()
    inputs = inputs_like(spec, 3)
    inputs = inputs if isinstance(inputs, dict) else inputs.double()
    names, weights = zip(*model.named_parameters(), strict=True)

    def outputs(*values):
        state = dict(zip(names, values, strict=True))
        given = ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})
        return torch.func.functional_call(model, state, *given)

    assert torch.autograd.gradcheck(outputs, tuple(w.detach().requires_grad_() for w in weights), fast_mode=True)


def test_sizes_are_those_of_the_papers():
    def size(name, spec, num_outputs, args):
        with torch.device("meta"):
            model = build(name, arguments_for(name, spec, num_outputs, args))
        return sum(p.numel() for p in model.parameters())

    photo = {"kind": "image", "channels": 3, "height": 224, "width": 224}
    resnet18 = size("resnet", photo, 1000, {"filters": 64, "blocks": [2, 2, 2, 2]})
    stem = -(3 * 64 * 49 + 128) + (3 * 64 * 9 + 64 * 64 * 9 + 128)  # two small convolutions for a 7x7
    norms = -2 * (64 + 128 + 256) - 2 * (128 + 256 + 512)  # before the convolutions, and none in a skip
    assert resnet18 == 11_689_512 + stem + norms
    words = NEXT | {"vocabulary": 50257}
    gpt2 = size("transformer", words, 50257, {"width": 768, "layers": 12, "heads": 12})
    assert gpt2 == 124_439_808 - 1024 * 768  # whose positions are weights, and whose head is the embedding too
    assert (
        size("recurrent", TEXT, 3, {"width": 8, "bidirectional": True})
        == 50 * 8 + 2 * (4 * 8 * 16 + 8 * 8) + 16 * 3 + 3
    )
    assert size("bag", TEXT, 3, {"width": 8}) == 50 * 8 + 8 * 3 + 3


def test_the_head_of_a_language_model_is_its_embedding_after_training_too():
    model = build("transformer", arguments_for("transformer", NEXT, 50, {"width": 16}))
    optimizer = build_optimizer("adamw", model)
    model(**inputs_like(NEXT)).square().sum().backward()
    optimizer.step()
    assert model.output.weight is model.embeddings[0].weight


def test_nothing_in_a_forward_pass_waits_for_the_device():
    """Reading a number on the meta device fails, as reading one on a GPU would wait."""
    for name, specs in FOR.items():
        for spec in specs:
            inputs = inputs_like(spec)
            with torch.device("meta"):
                model = build(name, arguments_for(name, spec, 50, {}))
            inputs = {k: v.to("meta") for k, v in inputs.items()} if isinstance(inputs, dict) else inputs.to("meta")
            assert call(model, inputs).device.type == "meta"


def test_a_fresh_residual_block_passes_its_input_on():
    model = build("resnet", arguments_for("resnet", IMAGE, 3, {"blocks": [2, 1]}))
    images = inputs_like(IMAGE)
    stem = model.stem(images)
    torch.testing.assert_close(model.stages[:2](stem), stem)


TASKS = {
    "bag": (TEXT, {}, lambda inputs: (inputs["tokens"] == 7).any(1)),
    "recurrent": (TEXT, {"bidirectional": True}, lambda inputs: inputs["tokens"][:, 0] < 20),
    "transformer": (TEXT, {"layers": 1}, lambda inputs: (inputs["tokens"] == 7).any(1)),
    "resnet": (IMAGE, {}, lambda images: images[:, :, :4].mean((1, 2, 3)) > images[:, :, 4:].mean((1, 2, 3))),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_few_steps_lower_the_loss(name):
    spec, args, rule = TASKS[name]
    torch.manual_seed(0)
    model = build(name, arguments_for(name, spec, 2, args))
    optimizer = build_optimizer("adamw", model, lr=1e-2 if name == "bag" else 3e-3)
    if spec is IMAGE:
        inputs = torch.randn(256, 1, 8, 8)
    else:
        inputs = {"tokens": torch.randint(1, 50, (256, 12)), "lengths": torch.full((256,), 12)}
        inputs["tokens"][::2, 3] = 7
    targets = rule(inputs).long()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        losses.append(F.cross_entropy(call(model, inputs), targets))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


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
    optimizer = build_optimizer("adamw", model, lr=3e-3)
    schedule = build_schedule("cosine", optimizer, total_steps=epochs * math.ceil(len(train) / 32), warmup_steps=20)
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()

    assert (model.eval()(inputs[test]).argmax(1) == targets[test]).float().mean() >= least
