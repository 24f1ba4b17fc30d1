from __future__ import annotations

import json

import numpy as np
import polars as pl

from truestep.data import load


def test_facts_are_plain_json():
    for source in ("digits", "diabetes", (np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2)):
        found = load(source).facts.to_dict()
        assert json.loads(json.dumps(found, allow_nan=False))["rows"] == found["rows"]
        assert list(found) == ["rows", "columns", "classes", "splits", "notes", "problems"]


def test_columns_classes_splits_and_gaps_are_told():
    frame = pl.DataFrame(
        {
            "row_id": range(40),
            "x": [None if row == 3 else row / 2 for row in range(40)],
            "g": [None if row < 2 else "ab"[row % 2] for row in range(40)],
            "y": ["rare"] + ["u", "v", "w"] * 13,
        }
    )
    facts = load(frame, target="y").facts
    assert [(column.name, column.kind, column.missing) for column in facts.columns] == [
        ("row_id", "id", 0), ("x", "numeric", 1), ("g", "categorical", 2), ("y", "target", 0),
    ]  # fmt: skip
    assert facts.classes == {"rare": 1, "u": 13, "v": 13, "w": 13}
    assert sum(facts.splits.values()) == 40
    assert "column 'x': 1 missing of 40; they become the mean of training, and marked." in facts.notes
    assert "column 'g': 2 missing of 40; they become a category of their own." in facts.notes
    assert "class 'rare' has 1 row: all for training, none to measure by." in facts.notes


def test_many_rare_classes_share_a_note():
    def notes(rare):
        classes = ["u", "v"] * 20 + [f"r{number}" for number in range(rare)]
        frame = pl.DataFrame({"x": np.arange(len(classes)) / 2 + 0.25, "y": classes})
        return [note for note in load(frame, target="y").facts.notes if "class" in note]

    assert notes(5) == [f"class 'r{number}' has 1 row: all for training, none to measure by." for number in range(5)]
    assert notes(6) == ["6 classes have fewer than 3 rows (r0, r1, r2, ...): all for training, none to measure by."]


def test_copies_across_splits_are_counted():
    x = np.random.default_rng(0).normal(size=(100, 3))
    y = np.arange(100) % 2
    assert not load((x, y)).facts.notes
    data = load((np.concatenate([x, x]), np.concatenate([y, y])))
    train, rest = data.train.rows.numpy() % 100, np.concatenate([data.valid.rows, data.test.rows]) % 100
    across = int(np.isin(rest, train).sum())
    assert data.facts.notes == [
        f"100 rows have the same inputs as an earlier one; {across} of the 60 held-out rows have duplicate inputs in training."
    ]
    assert data.facts.problems == [
        f"{across} of 60 held-out rows have duplicate inputs in training: metrics show memory as much as learning."
    ]
    frame = pl.DataFrame({"a": np.tile(x[:, 0], 2), "b": ["u", "v"] * 100, "y": np.tile(["n", "p", "p", "n"], 50)})
    assert "100 rows have the same inputs as an earlier one" in load(frame, target="y").facts.notes[0]


def test_a_column_that_gives_the_target_away_is_a_problem():
    frame = pl.DataFrame(
        {"x": np.random.default_rng(0).normal(size=60), "survived": [0, 1, 1] * 20, "alive": ["no", "yes", "yes"] * 20}
    )
    facts = load(frame, target="survived").facts
    assert facts.problems == ["column 'alive' tells the class in every row: is it known before 'survived' is?"]
    assert load(frame.drop("alive"), target="survived").facts.problems == []
