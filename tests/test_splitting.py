"""A batch in pieces gives the gradient of the whole one, and is cut when memory runs out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import truestep as ts
from truestep.dropout import KeyedDropout, key_dropout
from truestep.splitting import bound_to_batches, is_out_of_memory

CLASSES = 5
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(30, 1, 6, 6, generator=GENERATOR)
TARGETS = torch.randint(CLASSES, (30,), generator=GENERATOR)
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("could not create a primitive"),
]


def network(*, dropout=0.0, batch_norm=False):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4) if batch_norm else nn.GroupNorm(2, 4), nn.ReLU(), nn.Dropout(dropout),
        nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, CLASSES),
    )  # fmt: skip


def gradients(model, batches, objective, dtype=torch.float64, **options):
    """Return the gradients of one update."""
    model = model.to(dtype)
    batches = [(inputs.to(dtype) if inputs.is_floating_point() else inputs, targets) for inputs, targets in batches]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    torch.manual_seed(3)
    (step,) = ts.train_steps(model, batches, objective, optimizer, accumulate=len(batches), **options)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), step


def apart(one, other):
    return float((one - other).norm() / other.norm())


OBJECTIVES = {
    "mean": ts.Multiclass(CLASSES),
    "weighted": ts.Multiclass(CLASSES, (1.0, 5.0, 0.2, 3.0, 2.0)),
    "smoothed": ts.Multiclass(CLASSES, None, 0.1),
}


@pytest.mark.fault
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-6), (torch.float64, 1e-13)], ids=["fp32", "fp64"])
@pytest.mark.parametrize("size", [1, 4, 7, 15, 29, 30, 99])
def test_pieces_give_the_gradient_of_the_whole(objective, dtype, limit, size):
    whole, one = gradients(network(), [(INPUTS, TARGETS)], OBJECTIVES[objective], dtype)
    pieces, other = gradients(network(), [(INPUTS, TARGETS)], OBJECTIVES[objective], dtype, micro_batch=size)
    assert apart(pieces, whole) < limit
    assert float(one.loss) == pytest.approx(float(other.loss), rel=limit)
    assert one.count == other.count


@pytest.mark.fault
@pytest.mark.parametrize("size", [1, 3, 5])
def test_padded_texts_weigh_their_tokens(size):
    torch.manual_seed(0)
    texts = torch.randint(1, 9, (7, 12))
    for row, length in enumerate((12, 3, 7, 2, 11, 5, 4)):
        texts[row, length:] = -100
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 9))

    def batch():
        return [(texts.clamp(min=0), texts)]

    whole, _ = gradients(model, batch(), ts.NextToken(9))
    pieces, _ = gradients(model, batch(), ts.NextToken(9), micro_batch=size)
    assert apart(pieces, whole) < 1e-13


@pytest.mark.fault
def test_a_mean_of_means_would_be_seen():
    """The check can fail."""
    whole, _ = gradients(network(), [(INPUTS, TARGETS)], OBJECTIVES["mean"])
    model = network().double()
    for piece in (slice(0, 20), slice(20, 30)):
        (nn.functional.cross_entropy(model(INPUTS[piece].double()), TARGETS[piece]) / 2).backward()
    assert apart(torch.cat([p.grad.flatten() for p in model.parameters()]), whole) > 0.02


@pytest.mark.fault
@pytest.mark.parametrize("cut", [[30], [10, 20], [7, 7, 7, 9], [1] * 30])
def test_keyed_dropout_is_the_same_however_an_update_is_cut(cut):
    def update(sizes, micro_batch=None, *, keyed=True):
        model = network(dropout=0.5)
        if keyed:
            key_dropout(model, seed=1)
        batches = list(zip(INPUTS.split(sizes), TARGETS.split(sizes), strict=True))
        return gradients(model, batches, OBJECTIVES["mean"], micro_batch=micro_batch, step=4)[0]

    whole = update([30])
    assert apart(update(cut), whole) < 1e-13
    assert apart(update([30], micro_batch=cut[0]), whole) < 1e-13
    if cut != [30]:
        assert apart(update(cut, keyed=False), update([30], keyed=False)) > 0.1  # so it takes the keys


def test_keyed_dropout_drops_as_often_as_it_should_and_never_in_evaluation():
    layer = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.3))
    key_dropout(layer, seed=0)
    assert all(type(part) is KeyedDropout for part in layer)
    from truestep import dropout

    ones = torch.ones(400, 500)
    masks = []
    for step in (0, 1):
        with dropout.at(step, 0, 400):
            masks.append(layer[0](ones))
            masks.append(layer[0](ones))  # a second call in the same pass draws anew
            masks.append(layer[1](ones))
    for mask in masks:
        kept = mask > 0
        assert float(kept.double().mean()) == pytest.approx(0.7, abs=0.005)  # 4.9 standard deviations
        assert torch.equal(mask[kept], torch.full_like(mask[kept], 1 / 0.7))
        assert float(kept.double().mean(0).std()) == pytest.approx(math.sqrt(0.21 / 400), rel=0.15)
        assert float(kept.double().mean(1).std()) == pytest.approx(math.sqrt(0.21 / 500), rel=0.15)
    for number, one in enumerate(masks):
        for other in masks[:number]:  # independent of each other
            both = float(((one > 0) & (other > 0)).double().mean())
            assert both == pytest.approx(0.49, abs=0.006)
    layer.eval()
    with dropout.at(0, 0, 400):
        assert torch.equal(layer(ones), ones)


def test_keyed_dropout_of_channels_drops_whole_ones():
    layer = nn.Sequential(nn.Dropout2d(0.5))
    key_dropout(layer, seed=0)
    from truestep import dropout

    with dropout.at(0, 0, 20):
        sums = layer(torch.ones(20, 30, 4, 4)).sum((2, 3))
    assert {float(value) for value in sums.flatten()} == {0.0, 32.0}


class Greedy(nn.Module):
    """Runs out of memory at its `fails`-th module or hook of a gradient, if a batch is larger than `fits`."""

    def __init__(self, model, fits, fails, error):
        super().__init__()
        self.model, self.fits, self.fails, self.error = model, fits, fails, error
        self.passed = 0
        for module in model:
            module.register_forward_hook(lambda _, inputs, outputs: self.pass_by(outputs))

    def pass_by(self, outputs):
        self.step(outputs)
        if outputs.requires_grad:
            outputs.register_hook(self.step)

    def step(self, tensor):
        if len(tensor) > self.fits:
            self.passed += 1
            if self.passed > self.fails:
                self.passed = 0
                raise self.error

    def forward(self, x):
        return self.model(x)


@pytest.mark.fault
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "python", "onednn"])
@pytest.mark.parametrize("fails", range(0, 18, 2))
def test_memory_that_runs_out_anywhere_leaves_what_planned_pieces_give(error, fails):
    plain = network(dropout=0.5)
    key_dropout(plain, seed=1)
    batches = [(INPUTS[:14], TARGETS[:14]), (INPUTS[14:], TARGETS[14:])]
    planned, _ = gradients(plain, batches, OBJECTIVES["mean"], micro_batch=8)
    state = torch.get_rng_state()

    model = network(dropout=0.5)
    key_dropout(model, seed=1)
    greedy = Greedy(model, 8, fails, error)
    splitting = ts.Splitting("auto")
    found, _ = gradients(greedy, batches, OBJECTIVES["mean"], micro_batch=splitting)
    assert splitting.size == 8  # 16, then 8
    assert torch.equal(found, planned)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.fault
@pytest.mark.parametrize("options", [{"batch_norm": True}, {"dropout": 0.5}])
def test_layers_that_would_compute_something_else_are_named(options):
    model = network(**options)
    name = "1" if "batch_norm" in options else "3"
    greedy = Greedy(model, 8, 3, MemoryError("no more"))
    with pytest.raises(
        ts.InputError, match=rf"out of memory with 30 examples at a time \(no more\). In pieces, 'model.{name}'"
    ):
        gradients(greedy, [(INPUTS, TARGETS)], OBJECTIVES["mean"], micro_batch="auto")
    assert bound_to_batches(network(**options))[0].startswith(f"'{name}' (")
    gradients(greedy, [(INPUTS, TARGETS)], OBJECTIVES["mean"], micro_batch=8)  # whoever accepts that says so


def test_running_out_of_memory_without_pieces_says_what_to_do():
    greedy = Greedy(network(), 8, 3, MemoryError("no more"))
    with pytest.raises(ts.InputError, match="Try --micro-batch auto"):
        gradients(greedy, [(INPUTS, TARGETS)], OBJECTIVES["mean"])
    with pytest.raises(ts.InputError, match="A smaller model is needed"):
        gradients(Greedy(network(), 0, 3, MemoryError()), [(INPUTS, TARGETS)], OBJECTIVES["mean"], micro_batch="auto")


def test_other_errors_are_not_taken_for_it():
    assert all(map(is_out_of_memory, OUT_OF_MEMORY))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(
        RuntimeError("could not create a primitive descriptor for the LSTM forward propagation")
    )


def test_what_fitted_is_gone_on_with(tmp_path):
    """A resumed run takes the same pieces, on which the last bits depend."""

    def fit(folder, *, fits, resume=False, stop=lambda: None):
        model = network()
        greedy = Greedy(model, fits, 2, MemoryError())
        optimizer = torch.optim.SGD(greedy.parameters(), lr=0.1)
        train = ts.Batches((INPUTS, TARGETS), 16, shuffle=True)
        ts.fit(
            greedy, train, None, OBJECTIVES["mean"], optimizer, epochs=3, folder=folder, resume=resume, stop=stop,
            micro_batch="auto", show=False,
        )  # fmt: skip
        return model

    whole = fit(tmp_path / "a", fits=4)
    calls = iter(range(99))
    with pytest.raises(ts.Interrupted):
        fit(tmp_path / "b", fits=4, stop=lambda: ts.Interrupted("asked to", 130) if next(calls) == 2 else None)
    resumed = fit(tmp_path / "b", fits=100, resume=True)  # more would fit now
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("value", [0, -3, "whatever", 2.5])
def test_impossible_pieces_are_refused(value):
    with pytest.raises(ts.InputError, match="micro_batch: expected a number of at least 1 or auto"):
        ts.Splitting(value)
