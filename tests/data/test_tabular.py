from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data import TableEncoder, encoder_from_json, load, read_table
from truestep.errors import InputError, RefusedError

FRAME = pl.DataFrame(
    {
        "age": [None if row % 7 == 3 else row * 1.5 for row in range(60)],
        "size": [1e9 + row % 5 for row in range(60)],
        "colour": [None if row % 11 == 5 else ("red", "green", "blue")[row % 3] for row in range(60)],
        "member": [row % 4 == 0 for row in range(60)],
        "joined": [f"2026-01-{row % 28 + 1:02d}" for row in range(60)],
        "answer": [("no", "yes")[row % 2] for row in range(60)],
    }
)


def data(frame=FRAME, **choices):
    return load(frame, target="answer", **choices)


def test_numbers_are_scaled_by_training_rows_and_gaps_are_marked():
    found = data()
    numeric = found.train.inputs["numeric"]
    train = FRAME[found.train.rows.numpy()]
    age = train["age"].to_numpy()
    expected = np.nan_to_num((age - np.nanmean(age)) / np.nanstd(age)).astype(np.float32)
    assert found.encoder.spec == {"kind": "table", "num_numeric": 5, "cardinalities": [4]}
    assert numeric.dtype == torch.float32
    assert np.allclose(numeric[:, 0], expected, atol=1e-6)
    assert numeric[:, 4].tolist() == np.isnan(age).astype(float).tolist()
    for column in (1, 2, 3):
        assert abs(float(numeric[:, column].mean())) < 1e-5
        assert abs(float(numeric[:, column].std(correction=0)) - 1) < 1e-5


def test_categories_are_numbered_from_1_and_0_is_missing_or_unseen():
    found = data()
    assert found.encoder.categorical[0].categories == ("blue", "green", "red")
    new = FRAME.head(3).with_columns(colour=pl.Series(["red", "violet", None]))
    assert found.encoder.encode(new)["categories"].tolist() == [[3], [0], [0]]


def test_a_gap_where_training_had_none_is_the_mean():
    encoder = data().encoder
    with_gap = encoder.encode(FRAME.head(1).with_columns(size=pl.lit(None, pl.Float64)))["numeric"]
    assert with_gap[0, 1] == 0
    assert with_gap.isfinite().all()


def test_what_training_never_saw_is_told(tmp_path):
    whole = FRAME.with_columns(colour=pl.Series(["red", "green", "blue"] * 20))
    new = pl.DataFrame(
        {
            "age": [None] * 6,  # in training there were gaps too
            "size": [1e9, None, None, 1e9, 1e9, 1e9],
            "colour": ["RED", "GREEN", "RED", None, "BLUE", "Pink"],
            "member": [None] + [True] * 5,
            "joined": ["2026-01-05"] * 6,
        }
    )
    unseen = (
        "column 'colour': 5 of 6 values were not seen in training (RED, GREEN, BLUE and 1 more); they count as missing."
    )
    gaps = [
        "column 'size': 2 of 6 values are missing, though none was in training; they count as the mean.",
        "column 'member': 1 of 6 values is missing, though none was in training; it counts as the mean.",
    ]
    gap = "column 'colour': 1 of 6 values is missing, though none was in training; it counts as a category never seen."
    with_gaps, without = data().encoder, data(whole).encoder
    new.write_csv(tmp_path / "new.csv")
    for raw in (new, with_gaps.read(tmp_path / "new.csv")):
        assert with_gaps.notes(raw) == [*gaps, unseen]
        assert without.notes(raw) == [*gaps, unseen, gap]
        assert encoder_from_json(without.to_json()).notes(raw) == without.notes(raw)
    one = whole.with_columns(colour=pl.when(pl.int_range(60) == 3).then(pl.lit("MALE")).otherwise("colour"))
    assert without.notes(one) == [
        "column 'colour': 1 of 60 values was not seen in training (MALE); it counts as missing."
    ]


def test_of_rows_like_those_in_training_nothing_is_told(tmp_path):
    FRAME.write_csv(tmp_path / "x.csv")
    encoder = data().encoder
    assert encoder.notes(FRAME) == encoder.notes(encoder.read(tmp_path / "x.csv")) == []


def test_held_out_rows_leave_the_encoder_unchanged():
    found = data()
    for split in (found.valid, found.test):
        rows = pl.Series(split.rows.numpy())
        chosen = pl.int_range(len(FRAME)).is_in(rows.to_list())
        changed = FRAME.with_columns(
            age=pl.when(chosen).then(1e6).otherwise("age"),
            size=pl.when(chosen).then(None).otherwise("size"),
            colour=pl.when(chosen).then(pl.lit("violet")).otherwise("colour"),
            joined=pl.when(chosen).then(pl.lit("1970-01-01")).otherwise("joined"),
        )
        assert data(changed).encoder == found.encoder
        train_row = int(found.train.rows[0])
        moved = changed.with_columns(size=pl.when(pl.int_range(len(FRAME)) == train_row).then(0.0).otherwise("size"))
        assert data(moved).encoder != found.encoder  # the comparison can fail


def test_the_order_of_columns_and_other_columns_change_nothing():
    encoder = data().encoder
    inputs = encoder.encode(FRAME)
    shuffled = encoder.encode(FRAME.select(reversed(FRAME.columns)).with_columns(other=1))
    assert all(torch.equal(inputs[name], shuffled[name]) for name in inputs)


def test_a_text_file_and_a_typed_frame_give_the_same_inputs(tmp_path):
    FRAME.write_csv(tmp_path / "x.csv")
    FRAME.write_parquet(tmp_path / "x.parquet")
    found = [load(source, target="answer") for source in (FRAME, tmp_path / "x.csv", tmp_path / "x.parquet")]
    assert found[0].encoder == found[1].encoder == found[2].encoder
    for name, inputs in found[0].test.inputs.items():
        assert torch.equal(inputs, found[1].test.inputs[name])
        assert torch.equal(inputs, found[2].test.inputs[name])


def test_a_column_is_read_as_in_training_whatever_the_new_file_holds(tmp_path):
    """Alone, 'True' would be read as a boolean and '123' as a number; in training they were words."""
    words = ["True", "maybe", "012", "123"]
    frame = pl.DataFrame({"w": words * 10, "answer": ["a", "b"] * 20})
    encoder = load(frame, target="answer").encoder
    for number, word in enumerate(encoder.categorical[0].categories, 1):
        (tmp_path / "new.csv").write_text(f"w\n{word}\n")
        assert encoder.encode(encoder.read(tmp_path / "new.csv"))["categories"].tolist() == [[number]]


def test_only_the_kinds_that_are_there_have_a_key():
    assert set(data(drop=["colour"]).train.inputs) == {"numeric"}
    assert set(data(drop=["age", "size", "member", "joined"]).train.inputs) == {"categories"}


def test_a_column_that_never_changes_in_training_is_not_blown_up():
    frame = pl.DataFrame({"x": [0.1] * 60, "answer": ["a", "b"] * 30})
    row = int(load(frame.with_columns(z=pl.int_range(60) * 0.5), target="answer").test.rows[0])
    frame[row, "x"] = 0.2
    inputs = load(frame.with_columns(z=pl.int_range(60) * 0.5), target="answer").test.inputs["numeric"]
    assert math.isclose(float(inputs[:, 0].abs().max()), 0.1, rel_tol=1e-6)


def test_a_missing_column_or_a_wrong_value_is_named(tmp_path):
    encoder = data().encoder
    path = tmp_path / "new.csv"
    FRAME.head(5).rename({"colour": "color"}).write_csv(path)
    with pytest.raises(InputError, match=r"new\.csv: expected a column 'colour', found age, .* Did you mean 'color'"):
        encoder.encode(encoder.read(path))
    path.write_text(FRAME.head(5).write_csv().replace("6.0,", "six,"))
    with pytest.raises(InputError, match=r"new\.csv, line 6, column 'age': expected a number, found 'six'"):
        encoder.encode(encoder.read(path))
    with pytest.raises(InputError, match="table, row 2, column 'size': expected a finite number, found inf"):
        encoder.encode(FRAME.with_columns(size=pl.when(pl.int_range(60) == 2).then(math.inf).otherwise("size")))
    with pytest.raises(
        InputError, match="row 0, column 'age': expected numbers like those in training, found one too large"
    ):
        encoder.encode(FRAME.head(1).with_columns(age=1e300))


def test_a_row_of_a_frame_keeps_its_number_in_training():
    bad = int(data().train.rows[-1])
    frame = FRAME.with_columns(size=pl.when(pl.int_range(60) == bad).then(math.inf).otherwise("size"))
    with pytest.raises(InputError, match=f"table, row {bad}, column 'size'"):
        data(frame)


def test_labelled_rows_give_inputs_and_targets():
    found = data()
    inputs, targets = found.encoder.encode_labelled(FRAME, found.target)
    assert torch.equal(inputs["numeric"][found.test.rows], found.test.inputs["numeric"])
    assert torch.equal(targets[found.test.rows], found.test.targets)


def test_the_id_column_is_remembered_and_found():
    frame = FRAME.with_columns(user_id=pl.int_range(60) * 7 % 1000)
    encoder = data(frame).encoder
    assert isinstance(encoder, TableEncoder)
    assert encoder.id_column == "user_id"
    assert encoder.ids(read_table(frame)).equals(frame.select("user_id"))
    assert encoder.ids(FRAME) is None
    assert data().encoder.ids(FRAME) is None


def test_columns_of_which_training_saw_only_gaps_are_no_obstacle():
    held_out = int(data().test.rows[0])
    only = pl.int_range(60) == held_out
    frame = FRAME.with_columns(w=pl.when(only).then(pl.lit("word")), n=pl.when(only).then(3.5))
    found = data(frame)
    assert found.encoder.spec == {"kind": "table", "num_numeric": 7, "cardinalities": [4, 1]}
    assert found.test.inputs["categories"][:, 1].tolist() == [0] * len(found.test)
    assert found.encoder.notes(frame) == [
        "column 'w': 1 of 60 values was not seen in training (word); it counts as missing."
    ]
    assert found.test.inputs["numeric"].isfinite().all()


def test_a_table_of_categories_that_are_no_words_is_refused():
    column = {"name": "c", "categories": ["a", 3], "gaps": False}
    with pytest.raises(RefusedError, match="damaged"):
        encoder_from_json({"kind": "table", "numeric": [], "categorical": [column], "id_column": None})
