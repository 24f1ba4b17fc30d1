"""A model of one's own is given what it asks for by name, called by its own names, and read where its outputs are."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from truestep.errors import InputError
from truestep.models import arguments_for, build

IMAGE = {"kind": "image", "channels": 1, "height": 8, "width": 12}
TABLE = {"kind": "table", "num_numeric": 4, "cardinalities": []}
MIXED = {"kind": "table", "num_numeric": 4, "cardinalities": [3]}
VECTOR = {"kind": "vector", "num_features": 5}
TEXT = {"kind": "tokens", "vocabulary": 50, "length": 12, "causal": False}
SERIES = {"kind": "sequence", "length": 9, "num_numeric": 2, "cardinalities": []}

NETS = '''
from types import SimpleNamespace

import torch
from torch import nn

class Ours(nn.Module):
    def __init__(self, num_outputs, num_numeric, cardinalities, hidden=8):
        super().__init__()
        self.given = (num_outputs, num_numeric, cardinalities, hidden)

class Theirs(nn.Module):
    def __init__(self, in_features, num_classes, depth=2):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.depth = depth
    def forward(self, x):
        return self.layer(x)

class Flat(nn.Module):
    def __init__(self, num_inputs, num_outputs):
        super().__init__()

class Wide(nn.Module):
    def __init__(self, num_classes, width=4, length=9):
        super().__init__()

class Picture(nn.Module):
    def __init__(self, in_chans, height, width, *, num_labels):
        super().__init__()

class Needy(nn.Module):
    def __init__(self, num_classes, depth):
        super().__init__()

def anything(name, **kwargs):
    net = nn.Identity()
    net.given = kwargs
    return net

def no_model(num_classes):
    return [num_classes]

def broken(num_classes):
    return nn.Linear(3, "wide")

made = nn.Linear(2, 2)

class Hugging(nn.Module):
    """Takes and gives what a Hugging Face model does."""
    def __init__(self, vocab_size, num_labels):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, num_labels)
    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        assert not kwargs and labels is None
        states = self.embedding(input_ids)
        if attention_mask is not None:
            states = states * attention_mask.unsqueeze(2)
        return SimpleNamespace(loss=None, logits=states.sum(1))

class Plain(nn.Module):
    """Knows nothing of lengths."""
    def __init__(self, vocabulary, num_outputs):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, num_outputs, padding_idx=0)
    def forward(self, x):
        return self.embedding(x).sum(1)

class Tuple(nn.Module):
    def forward(self, x):
        return x, x

class Two(nn.Module):
    def forward(self, a, b):
        return a
'''


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    return lambda name: f"{tmp_path}/nets.py:{name}"


@pytest.mark.parametrize(
    ("name", "spec", "given", "expected"),
    [
        ("Ours", MIXED, {}, {"num_outputs": 3, "num_numeric": 4, "cardinalities": [3]}),
        ("Ours", TABLE, {"hidden": 16}, {"num_outputs": 3, "num_numeric": 4, "cardinalities": [], "hidden": 16}),
        ("Theirs", TABLE, {}, {"in_features": 4, "num_classes": 3}),
        ("Theirs", VECTOR, {"depth": 1, "num_classes": 7}, {"in_features": 5, "num_classes": 7, "depth": 1}),
        ("Theirs", IMAGE, {}, {"in_features": 96, "num_classes": 3}),
        ("Theirs", SERIES, {}, {"in_features": 2, "num_classes": 3}),
        ("Flat", TABLE, {}, {"num_inputs": 4, "num_outputs": 3}),
        ("Flat", VECTOR, {}, {"num_inputs": 5, "num_outputs": 3}),
        ("Flat", IMAGE, {}, {"num_inputs": 96, "num_outputs": 3}),
        ("Wide", IMAGE, {}, {"num_classes": 3}),  # how wide a network is, not an image
        ("Wide", TEXT, {}, {"num_classes": 3}),
        ("Picture", IMAGE, {}, {"in_chans": 1, "height": 8, "width": 12, "num_labels": 3}),
        ("Hugging", TEXT, {}, {"vocab_size": 50, "num_labels": 3}),
        ("anything", IMAGE, {"name": "x"}, {"name": "x", "num_classes": 3, "in_chans": 1}),
        ("anything", IMAGE | {"channels": 3}, {"name": "x"}, {"name": "x", "num_classes": 3}),
        (
            "anything",
            IMAGE,
            {"name": "x", "num_labels": 3, "in_channels": 1},
            {"name": "x", "num_labels": 3, "in_channels": 1},
        ),
    ],
)
def test_a_model_is_given_what_it_asks_for_by_name(nets, name, spec, given, expected):
    assert arguments_for(nets(name), spec, 3, given) == expected
    assert arguments_for(nets(name), spec, 3, expected) == expected  # as a resolved recipe gives them again


def test_the_arguments_arrive(nets):
    args = arguments_for(nets("Ours"), MIXED, 3, {})
    assert build(nets("Ours"), args, trusted=True).given == (3, 4, [3], 8)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("Needy", {}, r"^model\.args: .*:Needy needs 'depth'\. The data tell num_outputs, .*; give the rest\.$"),
        (
            "Theirs",
            {"dept": 3},
            r"^model\.args: expected in_features, num_classes, depth for .*, found 'dept'\. Did you mean 'depth'\?$",
        ),
        ("made", {}, r"^model '.*': expected a class or function that makes a model, found a model already made\.$"),
        ("NETS", {}, r"nets\.py has no 'NETS'\."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(nets, name, given, message):
    with pytest.raises(InputError, match=message):
        arguments_for(nets(name), TABLE, 3, given)


def test_what_makes_no_model_is_told(nets):
    with pytest.raises(InputError, match=r"^model '.*': expected it to make an nn\.Module, found a list\.$"):
        build(nets("no_model"), {"num_classes": 3}, trusted=True)
    with pytest.raises(InputError, match=rf"^model '.*': TypeError: .* \(nets\.py, line {line_of('wide')}\)$"):
        build(nets("broken"), {"num_classes": 3}, trusted=True)
    with pytest.raises(InputError, match=r"^model '.*': TypeError: .* missing 1 required positional argument: 'depth'"):
        build(nets("Needy"), {"num_classes": 3}, trusted=True)


def line_of(word):
    return next(number for number, line in enumerate(NETS.splitlines(), 1) if f'"{word}"' in line)


def test_the_weights_keep_their_names_and_the_outputs_are_the_models_own(nets):
    torch.manual_seed(0)
    model = build(nets("Theirs"), {"in_features": 4, "num_classes": 3}, trusted=True)
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]
    numeric = torch.randn(5, 4)
    expected = torch.nn.functional.linear(numeric, model.layer.weight, model.layer.bias)
    assert torch.equal(model(numeric), expected)
    assert torch.equal(model(numeric=numeric), expected)  # which it calls x
    assert torch.equal(copy.deepcopy(model)(numeric=numeric), expected)


def test_tokens_and_lengths_become_what_hugging_face_calls_them(nets):
    model = build(nets("Hugging"), {"vocab_size": 50, "num_labels": 3}, trusted=True)
    tokens, lengths = torch.tensor([[4, 5, 6], [7, 0, 0]]), torch.tensor([3, 1])
    outputs = model(tokens=tokens, lengths=lengths)
    assert isinstance(outputs, torch.Tensor)
    weight = model.embedding.weight
    torch.testing.assert_close(outputs, torch.stack([weight[4] + weight[5] + weight[6], weight[7]]))
    torch.testing.assert_close(model(tokens=tokens)[0], outputs[0])
    with torch.device("meta"):  # and nothing in it waits for the device
        model.to("meta")(tokens=tokens.to("meta"), lengths=lengths.to("meta"))


def test_a_model_that_knows_nothing_of_lengths_gets_the_tokens(nets):
    model = build(nets("Plain"), {"vocabulary": 50, "num_outputs": 3}, trusted=True)
    tokens = torch.tensor([[4, 5, 6], [7, 0, 0]])
    assert torch.equal(model(tokens=tokens, lengths=torch.tensor([3, 1])), model(tokens))


def test_inputs_and_outputs_that_do_not_fit_are_told(nets):
    rows = torch.ones(2, 3)
    plain = build(nets("Plain"), {"vocabulary": 50, "num_outputs": 3}, trusted=True)
    two, pair = (build(nets(name), {}, trusted=True) for name in ("Two", "Tuple"))
    with pytest.raises(
        InputError, match=r"^model 'Plain': its forward takes x; these data give numeric, categories\. "
    ):
        plain(numeric=rows, categories=rows)
    with pytest.raises(InputError, match=r"^model 'Two': its forward takes a, b; these data give numeric\. "):
        two(numeric=rows)
    with pytest.raises(
        InputError, match=r"^model 'Tuple': expected its forward to return a tensor, .* found a tuple\.$"
    ):
        pair(rows)


def test_models_of_torch_work_as_they_are():
    args = arguments_for("torch.nn:Linear", VECTOR, 3, {})
    assert args == {"in_features": 5, "out_features": 3}
    assert build("torch.nn:Linear", args, trusted=True)(torch.ones(2, 5)).shape == (2, 3)


# With the libraries themselves, where they are installed


def test_a_model_of_timm_trains():
    library = torch.library.Library("torchvision", "FRAGMENT")  # whose operators its wheel may lack
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    pytest.importorskip("timm")
    spec = {"kind": "image", "channels": 1, "height": 32, "width": 32}
    args = arguments_for("timm:create_model", spec, 3, {"model_name": "resnet10t"})
    assert args == {"model_name": "resnet10t", "num_classes": 3, "in_chans": 1}
    model = build("timm:create_model", args, trusted=True)
    outputs = model(torch.randn(4, 1, 32, 32))
    assert outputs.shape == (4, 3)
    outputs.sum().backward()


@pytest.mark.filterwarnings("ignore")
def test_a_model_of_transformers_trains_and_does_not_see_padding(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "bert.py").write_text(
        re.sub(
            "^ {8}",
            "",
            """
        from transformers import BertConfig, BertForSequenceClassification

        def bert(vocab_size, num_labels, width=16):
            config = BertConfig(vocab_size=vocab_size, num_labels=num_labels, hidden_size=width, num_hidden_layers=2,
                                num_attention_heads=2, intermediate_size=32)
            return BertForSequenceClassification(config)
        """,
            flags=re.MULTILINE,
        )
    )
    name = f"{tmp_path}/bert.py:bert"
    args = arguments_for(name, TEXT, 3, {})
    model = build(name, args, trusted=True).eval()
    assert not any(key.startswith("model.") for key in model.state_dict())
    tokens, lengths = torch.randint(1, 50, (2, 6)), torch.tensor([6, 4])
    tokens[1, 4:] = 0
    outputs = model(tokens=tokens, lengths=lengths)
    assert outputs.shape == (2, 3)
    torch.testing.assert_close(model(tokens=tokens[1:, :4])[0], outputs[1], rtol=0, atol=1e-6)
    nn.functional.cross_entropy(outputs, torch.tensor([0, 2])).backward()


def test_lazy_layers_are_refused_because_no_optimizer_can_hold_them(tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef make():\n    return nn.LazyLinear(3)\n")
    with pytest.raises(InputError, match="found lazy ones"):
        build(f"{tmp_path / 'net.py'}:make", {}, trusted=True)
