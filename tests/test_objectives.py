"""Objectives against torch's own losses, and their refusals."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import truestep as ts
from truestep.objectives import IGNORED, objective_from_json

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(9, 4, generator=GENERATOR)
CLASSES = torch.tensor([0, 1, 2, 3, 0, 0, 1, 2, 3])
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


def mean(objective, outputs, targets):
    return objective.loss_sum(outputs, targets) / objective.count(targets)


@pytest.mark.parametrize(
    ("objective", "outputs", "targets", "reference"),
    [
        (ts.Multiclass(4), LOGITS, CLASSES, lambda o, t: F.cross_entropy(o, t)),
        (ts.Multiclass(4, WEIGHTS), LOGITS, CLASSES, lambda o, t: F.cross_entropy(o, t, torch.tensor(WEIGHTS))),
        (
            ts.Multiclass(4, WEIGHTS, 0.2),
            LOGITS,
            CLASSES,
            lambda o, t: F.cross_entropy(o, t, torch.tensor(WEIGHTS), label_smoothing=0.2),
        ),
        (  # an image of classes: (N, C, H, W) beside (N, H, W)
            ts.Multiclass(4),
            torch.randn(2, 4, 3, 5, generator=GENERATOR),
            torch.randint(0, 4, (2, 3, 5), generator=GENERATOR),
            lambda o, t: F.cross_entropy(o, t),
        ),
        (
            ts.Binary(3.0),
            LOGITS[:, :1],
            CLASSES % 2,
            lambda o, t: F.binary_cross_entropy_with_logits(o[:, 0], t.float(), pos_weight=torch.tensor(3.0)),
        ),
        (
            ts.Multilabel(4),
            LOGITS,
            (LOGITS > 0.3).int(),
            lambda o, t: F.binary_cross_entropy_with_logits(o, t.float()),
        ),
        (
            ts.Regression("mae", (5.0,), (2.0,)),
            LOGITS[:, 0],
            LOGITS[:, 1],
            lambda o, t: F.l1_loss(o, (t - 5) / 2),
        ),
        (
            ts.Regression("mse", (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 1.0, 2.0)),
            LOGITS,
            LOGITS + 1,
            lambda o, t: F.mse_loss(o, (t - torch.tensor([1.0, 2, 3, 4])) / torch.tensor([1.0, 2, 1, 2])),
        ),
        (
            ts.NextToken(4),
            LOGITS.view(3, 3, 4),
            torch.where(CLASSES == 3, IGNORED, CLASSES).view(3, 3),
            lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten(), ignore_index=IGNORED),
        ),
    ],
)
def test_the_loss_is_that_of_torch(objective, outputs, targets, reference):
    torch.testing.assert_close(mean(objective, outputs, targets), reference(outputs, targets), rtol=1e-6, atol=1e-7)


def test_the_loss_of_16_bit_outputs_is_summed_in_32():
    outputs = torch.randn(4096, 4, generator=GENERATOR).bfloat16()
    targets = torch.randint(0, 4, (4096,), generator=GENERATOR)
    expected = F.cross_entropy(outputs.float(), targets)
    torch.testing.assert_close(mean(ts.Multiclass(4), outputs, targets), expected, rtol=1e-6, atol=0)


def test_next_token_shifts_a_tensor_of_tokens_itself():
    tokens = torch.arange(12).view(2, 6)
    inputs, targets = ts.NextToken(12).unpack(tokens)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [6, 7, 8, 9, 10]]
    assert targets.tolist() == [[1, 2, 3, 4, 5], [7, 8, 9, 10, 11]]


def test_regression_is_standardised_by_its_targets_and_answers_in_their_units():
    targets = torch.tensor([1000.0, 1010.0, 1030.0])
    objective = ts.Regression.of(targets)
    assert objective.mean[0] == pytest.approx(3040 / 3)
    assert objective.std[0] == pytest.approx(targets.double().std(correction=0).item())
    standardised = (targets - objective.mean[0]) / objective.std[0]
    torch.testing.assert_close(objective.predictions(standardised[:, None]), targets)
    assert mean(objective, standardised, targets).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("objective", "targets", "said"),
    [
        (ts.Multiclass(5), torch.tensor([1, 7]), "targets, row 1: expected a class in [0, 5), found 7"),
        (ts.Multiclass(5), torch.tensor([1, -1]), "row 1: expected a class in [0, 5), found -1"),
        (ts.Multiclass(5), torch.tensor([1.0, 2.0]), "expected integers in [0, 5), found torch.float32"),
        (ts.Multiclass(5), torch.tensor([1.0, math.nan]), "row 1: expected a class in [0, 5), found nan"),
        (ts.Binary(), torch.tensor([0.0, 0.5]), "expected integers in [0, 2)"),
        (ts.Binary(), torch.tensor([0, 2]), "row 1: expected a class in [0, 2), found 2"),
        (ts.Multilabel(2), torch.tensor([[0, 1], [0, 3]]), "row 1: expected 0 or 1 for every label, found [0, 3]"),
        (ts.Multilabel(2), torch.tensor([0, 1]), "expected shape (N, 2), found (2,)"),
        (ts.Regression(), torch.tensor([1, 2]), "expected floating point numbers, found torch.int64"),
        (ts.Regression(), torch.tensor([1.0, math.inf]), "row 1: expected a finite number, found inf"),
        (ts.NextToken(5), torch.tensor([[1, IGNORED], [1, 5]]), "row 1: expected a class in [0, 5), found [1, 5]"),
    ],
)
def test_targets_that_do_not_fit_are_named_by_their_row(objective, targets, said):
    with pytest.raises(ts.InputError) as caught:
        objective.check(targets)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("objective", "outputs", "targets", "said"),
    [
        (ts.Multiclass(5), torch.zeros(2, 4), torch.tensor([0, 1]), "expected (N, 5) logits, found shape (2, 4)"),
        (ts.Regression(), torch.zeros(2, 3), torch.zeros(2), "expected the shape of the targets, (2,), found (2, 3)"),
        (ts.Binary(), torch.zeros(2, 2), torch.zeros(2), "expected the shape of the targets, (2,), found (2, 2)"),
    ],
)
def test_outputs_of_another_shape_are_refused_instead_of_broadcast(objective, outputs, targets, said):
    with pytest.raises(ts.InputError) as caught:
        objective.loss_sum(outputs, targets)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ts.Multiclass(1),
        lambda: ts.Multiclass(3, (1.0,)),
        lambda: ts.Multiclass(3, None, 1.0),
        lambda: ts.Regression("rmse"),
        lambda: ts.Regression("mse", (0.0,), (0.0,)),
        lambda: ts.Regression.of(torch.ones(5)),
    ],
)
def test_objectives_that_cannot_be_are_refused(make):
    with pytest.raises(ts.InputError):
        make()


@pytest.mark.parametrize(
    "objective",
    [ts.Multiclass(4, WEIGHTS, 0.1), ts.Binary(2.0), ts.Multilabel(3), ts.Regression.of(LOGITS), ts.NextToken(7)],
)
def test_json_gives_the_same_objective_back(objective):
    assert objective_from_json(objective.to_json()) == objective


@pytest.mark.parametrize("content", [{}, {"name": "os.system"}, {"name": "binary", "evil": 1}, {"name": "multiclass"}])
def test_json_of_something_else_is_refused(content):
    with pytest.raises(ts.RefusedError):
        objective_from_json(content)


def test_a_target_of_minus_100_does_not_thin_the_mean_in_silence():
    targets = CLASSES.clone()
    targets[0] = IGNORED
    with pytest.raises(IndexError):
        ts.Multiclass(4).loss_sum(LOGITS, targets)


def test_weights_that_were_first_used_in_inference_can_be_trained_with():
    weights = (1.25, 2.0, 0.5, 3.0)
    with torch.inference_mode():
        ts.Multiclass(4, weights).loss_sum(LOGITS, CLASSES)
    logits = LOGITS.clone().requires_grad_()
    ts.Multiclass(4, weights).loss_sum(logits, CLASSES).backward()
    assert logits.grad is not None


def test_several_numbers_keep_their_shape_with_one_scale():
    assert ts.Regression().predictions(torch.zeros(7, 3)).shape == (7, 3)
    assert ts.Regression().predictions(torch.zeros(7, 1)).shape == (7,)


def test_a_dict_or_a_tensor_is_no_pair_even_if_it_has_two():
    for batch in ({"x": LOGITS, "y": CLASSES}, LOGITS[:2]):
        with pytest.raises(ts.InputError, match="expected a pair"):
            ts.Multiclass(4).unpack(batch)


def test_a_batch_that_is_no_pair_is_explained():
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ts.InputError, match=r"expected a pair \(inputs, targets\), found a tensor of shape \(9, 4\)"):
        list(ts.train_steps(model, [LOGITS], ts.Multiclass(4), optimizer))


def test_an_objective_of_ones_own_needs_a_loss_and_a_count():
    class Cubic(ts.Objective):
        def loss_sum(self, outputs, targets):
            return (outputs - targets).abs().pow(3).sum()

        def count(self, targets):
            return targets.numel()

    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (step,) = ts.train_steps(model, [(LOGITS, LOGITS)], Cubic(), optimizer)
    assert step.count == 36
    assert set(ts.evaluate(model, [(LOGITS, LOGITS)], Cubic())) == {"loss"}
