from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.datasets import load_diabetes, make_blobs
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_predict

from truestep.data.suspects import suspects
from truestep.errors import InputError


def test_flipped_labels_are_found_far_beyond_chance():
    recalls, precisions = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        inputs, truth = make_blobs(1000, n_features=5, centers=4, cluster_std=1.5, random_state=seed)
        flipped = rng.choice(1000, 50, replace=False)
        labels = truth.copy()
        labels[flipped] = (labels[flipped] + rng.integers(1, 4, 50)) % 4
        probabilities = cross_val_predict(LogisticRegression(), inputs, labels, cv=5, method="predict_proba")
        found = suspects(torch.from_numpy(probabilities), torch.from_numpy(labels))
        right = np.isin(found["row"].to_numpy(), flipped)
        recalls.append(right.sum() / 50)
        precisions.append(right.mean())
        named = found.filter(pl.Series(right))
        assert (truth[named["row"]] == named["predicted"].to_numpy()).mean() > 0.95
        assert (labels[found["row"]] == found["given"].to_numpy()).all()
    assert min(recalls) > 0.75  # as many rows drawn by chance: 0.05
    assert min(precisions) > 0.9  # by chance: 0.05


def test_binary_probabilities_are_those_of_the_second_class():
    rng = np.random.default_rng(0)
    inputs, truth = make_blobs(600, centers=[[0, 0], [6, 6]], random_state=0)
    flipped = rng.choice(600, 30, replace=False)
    labels = truth.copy()
    labels[flipped] = 1 - labels[flipped]
    probabilities = cross_val_predict(LogisticRegression(), inputs, labels, cv=5, method="predict_proba")
    one = suspects(probabilities[:, 1], labels, class_names=("no", "yes"))
    assert one.equals(suspects(probabilities, labels, class_names=["no", "yes"]))
    assert one.columns == ["row", "given", "predicted", "probability"]
    assert set(one["given"]) <= {"no", "yes"}
    assert np.isin(flipped, one["row"]).mean() > 0.75
    floats = suspects(probabilities[:, 1], labels.astype(np.float32), class_names=("no", "yes"))
    assert floats.equals(one)


def test_suspects_follow_the_definition_and_its_order():
    probabilities = np.array(
        [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.95, 0.05, 0], [0.3, 0.7, 0], [0.5, 0.5, 0]]
    )
    given = np.array([0, 0, 0, 1, 1, 1])
    # Thresholds: 0.6 and 0.41667; no row is given the third class.
    found = suspects(probabilities, given, rows=np.arange(10, 16))
    assert found.rows() == [(13, 1, 0, 0.95), (12, 0, 1, 0.9)]
    assert suspects(probabilities, given, most=1)["row"].to_list() == [3]
    # The first row is as sure of its class as such rows are: thresholds 0.35 and 0.5.
    unsure = suspects(np.array([[0.4, 0.6], [0.3, 0.7], [0.5, 0.5]]), np.array([0, 0, 1]))
    assert unsure["row"].to_list() == [1]


@pytest.mark.parametrize("classes", [1, 4])
def test_pieces_of_any_size_find_the_same(classes, monkeypatch):
    rng = np.random.default_rng(0)
    probabilities, given = rng.dirichlet(np.ones(max(classes, 2)), 50).round(2), rng.integers(0, max(classes, 2), 50)
    probabilities = probabilities[:, 1] if classes == 1 else probabilities
    expected = suspects(probabilities, given)
    monkeypatch.setattr(sys.modules[suspects.__module__], "ROWS", 7)
    assert len(expected) > 7
    assert suspects(probabilities, given).equals(expected)


def test_sure_and_right_predictions_leave_nothing_to_doubt():
    labels = np.arange(30) % 3
    assert suspects(np.eye(3)[labels] * 0.9 + 0.1 / 3, labels).is_empty()
    assert suspects(np.zeros((0, 3)), np.zeros(0, np.int64)).is_empty()


def test_wrong_numbers_are_found_and_honest_noise_is_not():
    inputs, truth = load_diabetes(return_X_y=True)
    honest = suspects(cross_val_predict(LinearRegression(), inputs, truth, cv=5), truth)
    assert len(honest) <= 2
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2000, 4))
    truth = inputs @ [1.0, 2, -1, 0.5] + rng.normal(size=2000)
    wrong = rng.choice(2000, 40, replace=False)
    given = truth.copy()
    given[wrong] += rng.choice([-12, 12], 40)
    found = suspects(
        cross_val_predict(LinearRegression(), inputs, given, cv=5), torch.from_numpy(given), rows=torch.arange(2000) + 5
    )
    assert found.columns == ["row", "given", "predicted", "deviations"]
    assert set(wrong + 5) <= set(found["row"])
    assert len(found) <= 41
    assert found["deviations"].abs().is_sorted(descending=True)


def test_normal_residuals_of_any_number_give_hardly_any_suspect():
    rng = np.random.default_rng(0)
    assert (
        np.mean(
            [len(suspects(np.zeros(size), rng.normal(size=size))) for size in (20, 1000, 100_000) for _ in range(20)]
        )
        < 1
    )


def test_one_odd_number_among_equal_ones_is_found():
    given = np.zeros(50)
    given[7] = 3
    assert suspects(np.zeros(50), given)["row"].to_list() == [7]
    assert suspects(np.zeros(50), np.zeros(50)).is_empty()


@pytest.mark.parametrize(
    ("predicted", "targets", "words"),
    [
        (np.zeros((4, 2)), np.zeros(5, np.int64), "found shapes"),
        (np.full((4, 2), np.nan), np.zeros(4, np.int64), "expected finite"),
        (np.full((4, 2), 0.5), np.full(4, 2), "expected classes 0 to 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(predicted, targets, words):
    with pytest.raises(InputError, match=words):
        suspects(predicted, targets)
