"""Choices that contradict each other, or the data, are refused in one line; what is said of them is true."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from truestep.data import load
from truestep.errors import InputError

SHOPS = 20


def sales(rows: int = 200) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "a": rng.normal(size=rows),
            "shop": [f"shop {row % SHOPS}" for row in range(rows)],
            "joined": np.arange(rows) // 2,
            "sold": rng.choice(["few", "many"], rows),
        }
    )


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"group": "shop", "time": "joined", "split": "rows"}, "--group shop: .* found --data.split rows"),
        ({"group": "shop", "split": "rows"}, "--group shop: .* found --data.split rows"),
        ({"time": "joined", "split": "rows"}, "--time joined: .* found --data.split rows"),
        ({"group": "shop", "time": "joined", "split": "groups"}, "--time joined: .* found --data.split groups"),
        ({"group": "shop", "time": "joined", "split": "time"}, "--group shop: .* found --data.split time"),
        ({"split": "groups"}, "'groups' expected a column to go by, found none. Give --group COLUMN"),
        ({"window": 3, "time": "joined", "group": "shop", "split": "rows"}, "expected groups or time for windows"),
        ({"stratify": True, "group": "shop"}, "--data.stratify: .* found a split by groups"),
        ({"stratify": True, "time": "joined"}, "--data.stratify: .* found a split by time"),
        ({"stratify": True, "window": 3}, "--data.stratify: .* found a split by time"),
    ],
)
def test_choices_about_the_split_that_contradict_each_other_are_refused(choices, said):
    with pytest.raises(InputError, match=said):
        load(sales(), target="sold", **choices)


def test_what_decides_nothing_because_files_do_is_refused(tmp_path):
    for name, rows in (("train", 200), ("valid", 40), ("test", 40)):
        sales(rows).write_csv(tmp_path / f"{name}.csv")
    source = str(tmp_path / "train.csv")
    files = {"valid": str(tmp_path / "valid.csv"), "test": str(tmp_path / "test.csv")}
    with pytest.raises(InputError, match=r"--group shop: expected a split to make, .*by the files given"):
        load(source, target="sold", group="shop", **files)
    with pytest.raises(InputError, match=r"--data.stratify: .* splits that are given"):
        load(source, target="sold", stratify=True, **files)
    data = load(source, target="sold", group="shop", valid=files["valid"])  # for test there is something to decide
    shops = np.array([row % SHOPS for row in range(200)])
    inside = data.train.rows[data.train.rows < 200]
    assert not set(shops[inside]) & set(shops[data.test.rows])


@pytest.mark.parametrize(
    ("choices", "deciding"),
    [
        ({"group": "shop"}, ["shop"]),
        ({"time": "joined"}, ["joined"]),
        ({"group": "shop", "time": "joined"}, ["shop", "joined"]),
        ({"group": "shop", "valid": 0, "test": 0}, []),
        ({}, []),
    ],
)
def test_a_note_says_which_column_decides_the_split_only_where_it_does(choices, deciding):
    data = load(sales(), target="sold", **choices)
    for name in ("shop", "joined", "a"):
        said = any(f"column '{name}' decides the split" in note for note in data.facts.notes)
        assert said == (name in deciding)
        assert (f"'{name}'" in data.split_by) == (name in deciding or (name == "shop" and "group" in choices))


def test_a_time_that_the_source_knows_can_be_passed_over_and_does_not_claim_to_decide():
    data = load("flights", split="rows")
    assert not any("decides the split" in note for note in data.facts.notes)
    assert "by the content" in data.split_by
    assert any("decides the split" in note for note in load("flights").facts.notes)


def test_arrays_have_no_columns_to_be_split_by():
    arrays = (np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2)
    with pytest.raises(InputError, match=r"--data.split time: expected rows for arrays"):
        load(arrays, split="time")
