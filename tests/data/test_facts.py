from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data import load
from truestep.data.facts import CHANCE, Facts, examine, note_columns, note_copies, note_hints
from truestep.data.keys import row_keys
from truestep.data.targets import Target

RNG = np.random.default_rng(0)


def classes(*names):
    return Target("multiclass" if len(names) > 2 else "binary", "y", names, len(names), "")


NUMBERS = Target("regression", "y", None, 1, "")


def splits_of(count, seed=0):
    order = np.random.default_rng(seed).permutation(count)
    a, b = count * 7 // 10, count * 85 // 100
    parts = zip(("train", "valid", "test"), np.split(order, [a, b]), strict=True)
    return {name: torch.from_numpy(np.sort(part)) for name, part in parts}


def looked_at(target, targets, columns, splits=None, **choices):
    """Facts of these columns, by name, given as arrays."""
    facts, targets = Facts(len(targets)), torch.as_tensor(targets)
    series = [pl.Series(name, values) for name, values in columns.items()]
    keys = row_keys(series) if series else None
    examine(facts, target, targets, splits or splits_of(len(targets)), keys=keys, columns=series, **choices)
    return facts


def test_facts_are_plain_json():
    for source in ("digits", "diabetes", (np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2)):
        found = load(source).facts.to_dict()
        assert json.loads(json.dumps(found, allow_nan=False))["rows"] == found["rows"]
        assert list(found) == [
            "rows",
            "columns",
            "classes",
            "splits",
            "imbalance",
            "copies",
            "alone",
            "notes",
            "problems",
        ]


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer", "diabetes", "digits"])
@pytest.mark.parametrize("seed", range(3))
def test_well_known_data_has_no_problems(name, seed):
    assert load(name, seed=seed).facts.problems == []


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
    assert facts.imbalance == 13
    assert sum(facts.splits.values()) == 40
    assert "column 'x': 1 missing of 40; they become the mean of training, and marked." in facts.notes
    assert "column 'g': 2 missing of 40; they become a category of their own." in facts.notes
    assert "class 'rare' has 1 row: all for training, none to measure by." in facts.notes


# Classes


def test_uneven_classes_are_told_only_where_it_matters():
    def notes(rarest):
        return looked_at(classes("a", "b"), np.repeat([0, 1], [1000 - rarest, rarest]), {}).notes

    assert notes(12)[0] == (
        "the rarest class, 'b', has 12 of 1,000 rows; --balance weights or --balance sampler would count it more."
    )
    assert not any("rarest" in note for note in notes(50))  # a tenth of an even share


def test_classes_that_a_split_is_without_are_told():
    targets = np.array([0] * 20 + [1] * 20 + [2] * 4 + [3])
    splits = {"train": torch.tensor([*range(15), *range(20, 35), 40, 41, 44]), "valid": torch.tensor([15, 16, 35, 36, 42]),
              "test": torch.tensor([17, 18, 19, 37, 38, 39, 43])}  # fmt: skip
    target = classes("a", "b", "c", "d")
    assert looked_at(target, targets, {}, splits).notes[1:] == [
        "class 'd' has 1 row: all for training, none to measure by."
    ]
    splits["valid"], splits["train"] = (
        torch.tensor([15, 16, 35, 36]),
        torch.tensor([*range(15), *range(20, 35), 40, 41, 42, 44]),
    )
    assert "class 'c' has 4 rows, none of them in valid." in looked_at(target, targets, {}, splits).notes
    splits["test"] = torch.tensor([17, 18, 19, 37, 38, 39, 43, 44])
    splits["train"] = torch.tensor([*range(15), *range(20, 35), 40, 41, 42])
    assert looked_at(target, targets, {}, splits).problems == [
        "class 'd' has 1 row in test and none in train: it can't be learnt."
    ]


def test_many_rare_classes_share_a_note():
    def notes(rare):
        targets = np.concatenate([np.arange(40) % 2, np.arange(2, 2 + rare)])
        splits = {
            "train": torch.tensor([*range(28), *range(40, 40 + rare)]),
            "valid": torch.arange(28, 34),
            "test": torch.arange(34, 40),
        }
        names = ["u", "v", *(f"r{number}" for number in range(rare))]
        return [note for note in looked_at(classes(*names), targets, {}, splits).notes if "rarest" not in note]

    assert notes(5) == [f"class 'r{number}' has 1 row: all for training, none to measure by." for number in range(5)]
    assert notes(6) == ["6 classes (r0, r1, r2, ...) are too rare to be in every split: figures say little of them."]


@pytest.mark.parametrize(("target", "value"), [(classes("n", "p"), "n"), (NUMBERS, "0")])
def test_training_rows_of_one_target_are_a_problem(target, value):
    targets = np.array([0] * 70 + [1] * 30) if target.has_classes else np.array([0.0] * 70 + [1.0] * 30, np.float32)
    splits = {"train": torch.arange(70), "valid": torch.arange(70, 85), "test": torch.arange(85, 100)}
    assert (
        f"'y' is {value} in every training row: there is nothing to learn."
        in looked_at(target, targets, {}, splits).problems
    )


# Copies


def test_copies_across_splits_are_counted():
    x, y = RNG.normal(size=100), np.arange(100) % 2
    assert looked_at(classes("n", "p"), y, {"x": x}).copies == {}
    splits = splits_of(200)
    facts = Facts(200)
    keys = row_keys([pl.Series("x", np.tile(x, 2))])
    note_copies(facts, keys, splits, classes("n", "p"), torch.from_numpy(np.tile(y, 2)))
    train, held_out = splits["train"].numpy() % 100, np.concatenate([splits["valid"], splits["test"]]) % 100
    across = int(np.isin(held_out, train).sum())
    assert facts.copies == {"rows": 100, "across": across, "conflicting": 0}
    assert facts.notes == [
        f"100 rows have the same inputs as an earlier one; {across} of the 60 held-out rows have duplicate inputs in training."
    ]
    assert facts.problems == [
        f"{across} of 60 held-out rows have duplicate inputs in training: metrics show memory as much as learning."
    ]


def test_rows_split_by_their_contents_have_no_copies_across():
    x = RNG.normal(size=(100, 3))
    y = np.arange(100) % 2
    facts = load((np.concatenate([x, x]), np.concatenate([y, y]))).facts
    assert facts.copies == {"rows": 100, "across": 0, "conflicting": 0}
    assert facts.problems == []


def test_equal_inputs_with_different_targets_bound_what_a_model_can_reach():
    x = np.repeat(np.arange(100.0), 2)
    y = np.zeros(200, np.int64)
    y[1:40:2] = 1  # 20 pairs of inputs with both classes: one of each pair is wrong whatever a model says
    facts = looked_at(classes("n", "p"), y, {"x": x})
    assert facts.copies["conflicting"] == 40
    assert (
        "40 rows have the same inputs as others with another target: no model can reach an accuracy above 0.9 on all rows."
        in facts.notes
    )
    values = RNG.normal(size=200).astype(np.float32)
    facts = looked_at(NUMBERS, values, {"x": x})
    pairs = values.astype(np.float64).reshape(100, 2)
    ceiling = 1 - ((pairs - pairs.mean(1, keepdims=True)) ** 2).sum() / ((pairs - pairs.mean()) ** 2).sum()
    [note] = [note for note in facts.notes if "R² above" in note]
    assert abs(float(note.split("above ")[1].split(" ")[0]) - ceiling) <= 1e-4


def test_a_small_space_of_inputs_is_no_copied_data():
    """Three columns of few values repeat by nature: their targets differ, and there is nothing to warn of."""
    columns = {name: RNG.choice(list("abc"), 600) for name in "xyz"}
    y = (RNG.random(600) < np.where(columns["x"] == "a", 0.8, 0.3)).astype(np.int64)
    facts = looked_at(classes("n", "p"), y, columns)
    assert facts.copies["across"] > 150
    assert facts.problems == []


# Columns


def test_a_column_that_gives_the_target_away_is_a_problem():
    frame = pl.DataFrame(
        {"x": np.random.default_rng(0).normal(size=60), "survived": [0, 1, 1] * 20, "alive": ["no", "yes", "yes"] * 20}
    )
    facts = load(frame, target="survived").facts
    assert facts.problems == [
        "column 'alive' tells the class in every row: is it known before 'survived' is? If not: --data.drop alive."
    ]
    assert load(frame.drop("alive"), target="survived").facts.problems == []


def problems(target, targets, **columns):
    facts, targets = Facts(len(targets)), torch.as_tensor(targets)
    series = (pl.Series(name, values) for name, values in columns.items())
    note_columns(facts, series, target, targets, splits_of(len(targets)))
    return [problem.split("'")[1] for problem in facts.problems]


@pytest.mark.parametrize("count", [200, 3000])
def test_leaking_columns_are_problems_whatever_their_form(count):
    rng = np.random.default_rng(count)
    y = rng.integers(0, 3, count)
    columns = {
        "score": y + 0.4 * rng.random(count),
        "code": np.array([["a", "b"], ["c", "d"], ["e", "f"]])[y, rng.integers(0, 2, count)],
        "gap": np.where(y == 0, np.nan, y * 1.5 + 0.1 * rng.random(count)),
        "honest": y + rng.normal(size=count),
    }
    assert problems(classes("u", "v", "w"), y, **columns) == ["score", "code", "gap"]
    v = rng.lognormal(size=count).astype(np.float32)
    columns = {"same": v, "cents": v * 100.0 + 3, "log": np.log(v), "honest": v + rng.normal(size=count)}
    assert problems(NUMBERS, v, **columns) == ["same", "cents", "log"]


def test_a_rare_class_is_given_away_too():
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.005).astype(np.int64)
    columns = {"flag": np.where(y == 1, rng.random(20_000) + 1, rng.random(20_000)), "noise": rng.normal(size=20_000)}
    assert problems(classes("n", "p"), y, **columns) == ["flag"]  # accuracy is above 0.99 for any column at all


def test_a_strong_column_is_a_note_and_a_weak_one_is_not():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    flipped = lambda share: np.where(rng.random(2000) < share, 1 - y, y).astype(str)  # noqa: E731
    facts = looked_at(classes("n", "p"), y, {"strong": flipped(0.03), "weak": flipped(0.1)})
    notes = [note for note in facts.notes if "alone" in note]
    assert len(notes) == 1
    assert notes[0].startswith("column 'strong' alone predicts 'y' of 600 held-out rows with accuracy 0.9")
    assert abs(facts.alone["strong"] - 0.97) < 0.03
    assert abs(facts.alone["weak"] - 0.9) < 0.05
    assert facts.problems == []


@pytest.mark.parametrize("seed", range(5))
def test_chance_makes_no_problem(seed):
    """Two hundred columns of noise, and few rows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 70)
    columns = {f"c{n}": rng.integers(0, 2, 70).astype(str) for n in range(100)} | {
        f"x{n}": rng.normal(size=70) for n in range(100)
    }
    assert problems(classes("n", "p"), y, **columns) == []
    y = np.zeros(30, np.int64)
    y[3] = 1  # one of 30 rows: a column that singles it out does so by chance once in 30
    assert problems(classes("n", "p"), y, flag=y.astype(str)) == []
    assert CHANCE < 1 / 30


def test_how_well_a_column_predicts_is_measured_on_held_out_rows():
    """Every value is there once: on the rows it was fitted on, the column would be perfect."""
    y = RNG.integers(0, 2, 1000)
    assert abs(looked_at(classes("n", "p"), y, {"name": [f"w{n}" for n in range(1000)]}).alone["name"] - 0.5) < 0.1


def test_columns_that_only_training_rows_hold_still_are_told():
    splits = splits_of(200)
    x = np.zeros(200)
    x[splits["test"]] = 1
    facts = looked_at(NUMBERS, RNG.normal(size=200).astype(np.float32), {"x": x, "z": RNG.normal(size=200)}, splits)
    assert facts.notes == [
        "column 'x' is the same in every training row, though not in the others: nothing is learnt from it."
    ]


@pytest.mark.parametrize(
    "values", [np.full(100, 1e308), np.array([1e308, -1e308, np.nan, 0] * 25), np.full(100, np.nan)]
)
def test_extreme_numbers_are_looked_at_without_a_warning(values):
    facts = Facts(100)
    for target, y in ((NUMBERS, RNG.normal(size=100).astype(np.float32)), (classes("n", "p"), RNG.integers(0, 2, 100))):
        note_columns(facts, [pl.Series("x", values)], target, torch.from_numpy(y), splits_of(100))
    assert facts.problems == []
    json.dumps(facts.to_dict(), allow_nan=False)


def test_several_targets_a_row_are_left_alone():
    facts = looked_at(
        Target("multilabel", "y", None, 3, ""),
        RNG.integers(0, 2, (100, 3)).astype(np.float32),
        {"x": RNG.normal(size=100)},
    )
    assert facts.problems == facts.notes == []


# Hints


def test_the_order_of_rows_is_told_where_it_tells_the_target():
    def hints(target, targets):
        facts = Facts(len(targets), classes=dict.fromkeys(target.class_names or (), 1))
        note_hints(facts, target, torch.as_tensor(targets), splits_of(len(targets)))
        return facts.notes

    blocks = np.repeat([0, 1, 0, 1, 0, 1, 0, 1], 50)
    assert "rows beside each other seem to belong together" in hints(classes("n", "p"), blocks)[0]
    assert hints(classes("n", "p"), np.sort(blocks)) == [
        "the rows are sorted by 'y': a column that follows their order would tell it."
    ]
    assert "--time COLUMN or --group COLUMN" in hints(NUMBERS, np.cumsum(RNG.normal(size=1000)).astype(np.float32))[0]
    assert hints(NUMBERS, RNG.normal(size=1000).astype(np.float32)) == []
    assert hints(classes("n", "p"), RNG.integers(0, 2, 400)) == []


def test_dates_and_repeated_ids_speak_for_another_split():
    frame = pl.DataFrame(
        {
            "day": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 7, 18), eager=True),
            "patient_id": [f"p{row % 40}" for row in range(200)],
            "x": RNG.normal(size=200),
            "y": RNG.normal(size=200),
        }
    )
    notes = load(frame, target="y").facts.notes
    assert (
        "column 'day' is a time, and rows were split regardless of it; --time day would train on the past and test on the future."
        in notes
    )
    assert (
        "column 'patient_id' has 40 different values in 200 rows; if rows with the same one belong together, "
        "--group patient_id keeps them in one split."
    ) in notes


def test_columns_that_alone_tell_the_target_are_said_before_all_else(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.random(600) < 0.5
    noise = {f"x{n}": np.where(rng.random(600) < 0.1, "?", rng.integers(0, 9, 600).astype(str)) for n in range(30)}
    strong, leak = np.where(rng.random(600) < 0.03, ~y, y).astype(str), y.astype(int)
    path = tmp_path / "a.csv"
    pl.DataFrame({**noise, "strong": strong, "leak": leak, "y": np.where(y, "yes", "no")}).write_csv(path)
    facts = load(str(path), target="y").facts
    assert len(facts.notes) > 30
    assert facts.notes[0].startswith("column 'strong' alone predicts 'y'")
    assert facts.problems[0].startswith("column 'leak' tells the class in every row")
