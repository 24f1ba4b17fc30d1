from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from sklearn import datasets

from truestep.data import bundled, load, read_table
from truestep.errors import InputError


def test_digits_are_those_of_scikit_learn():
    frame = read_table("digits").frame
    original = datasets.load_digits()
    assert np.array_equal(frame.drop("digit").to_numpy().astype(float), original.data)
    assert np.array_equal(frame["digit"].cast(int).to_numpy(), original.target)


@pytest.mark.parametrize("name", [name for name, *_ in bundled.names()])
def test_each_is_what_its_line_says(name):
    _, rows, task, _, available = next(entry for entry in bundled.names() if entry[0] == name)
    data = load(name)
    assert available
    assert data.name == name
    assert data.facts.rows == rows == sum(data.facts.splits.values())
    assert data.target.task == task
    assert not data.facts.problems


def test_classes_have_the_names_of_scikit_learn():
    data = load("iris")
    original = datasets.load_iris()
    assert data.target.class_names == tuple(original.target_names)
    assert data.train.targets.tolist() == original.target[data.train.rows.numpy()].tolist()
    assert load("breast-cancer").target.class_names == ("benign", "malignant")


def test_without_scikit_learn_it_is_asked_for(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(bundled, "find_spec", lambda name: None if name == "sklearn" else find_spec(name))
    with pytest.raises(
        InputError, match=r"iris: this data set comes with scikit-learn\. Install it: pip install scikit-learn"
    ):
        load("iris")
    assert [name for name, *_, available in bundled.names() if available] == ["digits"]
