from __future__ import annotations

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data import Table, encode_array_targets, encode_targets, target_from_json
from truestep.data.targets import choose_array_target, choose_target
from truestep.errors import InputError


def choose(values, task="auto"):
    return choose_target(Table(pl.DataFrame({"y": values}), "x.csv"), "y", task)


@pytest.mark.parametrize(
    ("values", "task", "classes", "outputs", "reason"),
    [
        (["b", "a", "c"] * 10, "multiclass", ("a", "b", "c"), 3, "y has 3 distinct text values"),
        (["yes", "no"] * 10, "binary", ("no", "yes"), 1, "y has 2 distinct text values"),
        (["True", "False"] * 10, "binary", ("false", "true"), 1, "y has 2 distinct text values"),
        ([True, False] * 10, "binary", ("false", "true"), 1, "y has 2 distinct values"),
        (["10", "9", "-1"] * 10, "multiclass", ("-1", "9", "10"), 3, "y has 3 distinct whole numbers"),
        ([10.0, 9.0, 1.0] * 10, "multiclass", ("1", "9", "10"), 3, "y has 3 distinct whole numbers"),
        ([0, 1] * 10, "binary", ("0", "1"), 1, "y has 2 distinct whole numbers"),
        (["01", "02", "10"] * 10, "multiclass", ("01", "02", "10"), 3, "y has 3 distinct text values"),
        (list(range(40)), "regression", None, 1, "y has 40 distinct whole numbers"),
        ([0.5, 1, 2] * 10, "regression", None, 1, "y has 3 distinct numbers"),
    ],
)
def test_the_task_follows_from_the_values(values, task, classes, outputs, reason):
    target = choose(values)
    assert (target.task, target.class_names, target.num_outputs, target.reason) == (task, classes, outputs, reason)


def test_a_task_can_be_asked_for():
    assert choose([1, 2, 3] * 10, "regression").class_names is None
    target = choose(["a", "b"] * 10, "multiclass")
    assert (target.num_outputs, target.reason) == (2, "y has 2 distinct text values; multiclass was chosen")


@pytest.mark.parametrize("values", [["a", "b"] * 10, [0.5, 1, 2] * 10, [1, 2, 3] * 10, [True, False] * 10])
def test_a_run_that_goes_on_with_the_task_in_its_recipe_has_the_same_reason(values):
    first = choose(values)
    assert choose(values, first.task) == first


@pytest.mark.parametrize("values", [[[0, 1], [1, 0]] * 5, [[0.5, 1], [2, 3]] * 5])
def test_so_has_one_on_arrays(values):
    first = choose_array_target(np.array(values))
    assert choose_array_target(np.array(values), first.task) == first
    assert "regression was chosen" in choose_array_target(np.array([[0, 1], [1, 0]]), "regression").reason


def test_classes_are_the_same_however_the_file_stored_them():
    target = choose(["0", "1", "2"] * 10)
    for values in ([2, 0], [2.0, 0.0], ["2", "0"], ["2.0", "0"]):
        targets = encode_targets(Table(pl.DataFrame({"y": values}), "new.csv"), target)
        assert targets.tolist() == [2, 0]
        assert targets.dtype == torch.int64


def test_an_unknown_class_is_named_with_its_line():
    target = choose(["cat", "dog", "fox"] * 10)
    new = Table(pl.DataFrame({"y": ["dog", "cta"]}), "targets.csv", [2, 18])
    expected = (
        r"targets\.csv, line 18: class 'cta' is not among the 3 classes seen in training \(cat, dog, fox\)\. "
        "Did you mean 'cat'"
    )
    with pytest.raises(InputError, match=expected):
        encode_targets(new, target)


def test_numbers_stay_in_their_own_units():
    values = [1e6 + row / 3 for row in range(30)]
    targets = encode_targets(Table(pl.DataFrame({"y": values}), "x.csv"), choose(values))
    assert torch.equal(targets, torch.tensor(values, dtype=torch.float32))


def test_arrays_of_several_targets():
    labels, numbers = np.eye(3)[np.arange(30) % 3], np.arange(60).reshape(30, 2) / 7
    for values, task, outputs in (
        (labels, "multilabel", 3),
        (labels.astype(bool), "multilabel", 3),
        (numbers, "regression", 2),
    ):
        target = choose_array_target(values)
        assert (target.task, target.num_outputs, target.class_names) == (task, outputs, None)
        encoded = encode_array_targets(values, target)
        assert encoded.dtype == torch.float32
        assert np.allclose(encoded, values)
    assert choose_array_target(labels, "regression").task == "regression"
    with pytest.raises(InputError, match=r"targets: expected shape \(N, 2\) as in training, found \(30, 3\)"):
        encode_array_targets(labels, choose_array_target(numbers))
    with pytest.raises(InputError, match=r"targets: expected shape \(N,\) as in training, found \(30, 3\)"):
        encode_array_targets(labels, choose_array_target(numbers[:, 0]))
    with pytest.raises(InputError, match=r"targets: expected shape \(N, 2\) as in training, found \(30,\)"):
        encode_array_targets(numbers[:, 0], choose_array_target(numbers))


def test_json_gives_back_the_target_and_refuses_damage():
    for values in (["a", "b", "c"] * 10, [0, 1] * 10, list(range(40))):
        target = choose(values)
        assert target_from_json(asdict(target)) == target
    content = asdict(choose(["a", "b", "c"] * 10))
    for damage in ({"num_outputs": 2}, {"task": "guess"}, {"class_names": 3}, {"more": 1}, {"class_names": None}):
        with pytest.raises((ValueError, TypeError)):
            target_from_json(content | damage)
