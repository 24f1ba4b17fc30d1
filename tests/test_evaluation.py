"""Evaluation is exact for any batches, and changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import nn

import truestep as ts
from truestep import evaluation
from truestep.objectives import IGNORED

N = 101
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 6, generator=GENERATOR)
CLASSES = torch.randint(0, 4, (N,), generator=GENERATOR)


def linear(outputs):
    torch.manual_seed(1)
    return nn.Linear(6, outputs)


TASKS = {
    "multiclass": (ts.Multiclass(4, (1.0, 2.0, 0.5, 1.0)), linear(4), CLASSES),
    "binary": (ts.Binary(), linear(1), CLASSES % 2),
    "multilabel": (ts.Multilabel(3), linear(3), (torch.rand(N, 3, generator=GENERATOR) > 0.5).long()),
    "regression": (ts.Regression.of(X[:, 0] * 50 + 1000), linear(1), X[:, 0] * 50 + 1000),
}


@settings(max_examples=25, deadline=None)
@given(
    task=st.sampled_from(sorted(TASKS)),
    cuts=st.lists(st.integers(1, N - 1), max_size=12, unique=True).map(sorted),
    chunk=st.sampled_from([1, 64, 1 << 20]),
)
def test_any_cutting_into_batches_gives_the_same_numbers(task, cuts, chunk):
    objective, model, targets = TASKS[task]
    expected = ts.evaluate(model, [(X, targets)], objective)
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, N], strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "CHUNK", chunk)
        found = ts.evaluate(model, list(zip(X.split(sizes), targets.split(sizes), strict=True)), objective)

    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_the_numbers_are_those_of_scikit_learn():
    objective, model, targets = TASKS["multiclass"]
    found = ts.evaluate(model, ts.Batches((X, targets), 7), objective)
    probabilities = model(X).detach().double().softmax(1)
    predictions = probabilities.argmax(1)

    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, predictions), abs=1e-9)
    assert found["f1"] == pytest.approx(sk.f1_score(targets, predictions, average="macro"), abs=1e-9)
    auc = sk.roc_auc_score(targets, probabilities, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(auc, abs=1e-6)
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0])[targets]
    assert found["loss"] == pytest.approx(sk.log_loss(targets, probabilities, sample_weight=weights), rel=1e-6)

    objective, model, targets = TASKS["regression"]
    found = ts.evaluate(model, ts.Batches((X, targets), 7), objective)
    values = model(X).flatten().detach().double() * objective.std[0] + objective.mean[0]
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(targets, values), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(targets, values), rel=1e-6)


def test_padding_counts_neither_in_the_loss_nor_in_the_metrics():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7))
    tokens = torch.randint(0, 7, (5, 9), generator=GENERATOR)
    lengths = [9, 4, 2, 7, 5]
    padded = tokens.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = IGNORED
    inputs = padded.clamp(min=0)
    together = ts.evaluate(model, [(inputs, padded)], ts.NextToken(7))
    # the same sentences one by one, each of its own length
    singly = [(tokens[i : i + 1, :n], tokens[i : i + 1, :n]) for i, n in enumerate(lengths)]
    apart = ts.evaluate(model, singly, ts.NextToken(7))

    assert list(together) == list(apart)
    for name, value in together.items():
        assert apart[name] == pytest.approx(value, rel=1e-6)
    assert together["perplexity"] == pytest.approx(torch.tensor(together["loss"]).exp().item(), rel=1e-5)


def test_every_module_comes_back_in_its_own_mode_and_no_random_number_is_drawn():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    model.train()
    model[1].eval()  # frozen on purpose
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, CLASSES), 10, shuffle=True)
    first = ts.evaluate(model, loader, ts.Multiclass(4))
    second = ts.evaluate(model, loader, ts.Multiclass(4))

    assert first == pytest.approx(second, rel=1e-6)
    assert [m.training for m in model] == [True, False, True, True]
    assert model.training
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_tensors_and_datasets_are_cut_for_the_user():
    objective, model, targets = TASKS["multiclass"]
    expected = ts.evaluate(model, [(X, targets)], objective)
    dataset = torch.utils.data.TensorDataset(X, targets)
    for data in ((X, targets), dataset, torch.utils.data.Subset(dataset, range(N))):
        assert ts.evaluate(model, data, objective) == pytest.approx(expected, rel=1e-6)


def test_without_rows_the_metrics_that_need_them_are_left_out():
    objective, model, targets = TASKS["multiclass"]
    assert "roc_auc" not in ts.evaluate(model, (X, targets), objective, keep_rows=False)
    assert "roc_auc" in ts.evaluate(model, (X, targets), objective)


def test_predict_gives_outputs_scores_and_answers_in_order():
    objective, model, _ = TASKS["multiclass"]
    found = ts.predict(model, X, objective)
    with torch.no_grad():
        logits = model(X)
    assert torch.equal(found.outputs, logits)
    torch.testing.assert_close(found.scores, logits.softmax(1))
    assert torch.equal(found.predictions, logits.argmax(1))


def test_a_target_that_is_no_class_is_named():
    targets = torch.tensor([0, 2, 7])
    with pytest.raises(ts.InputError, match=r"^targets, row 2: expected a class in \[0, 3\), found 7"):
        ts.evaluate(nn.Linear(2, 3), (torch.zeros(3, 2), targets), ts.Multiclass(3))
