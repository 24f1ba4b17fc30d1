from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data import Table, TableEncoder, encoder_from_json, load, read_table, tabular
from truestep.data.columns import NUMERIC_KINDS, describe, numbers_of
from truestep.data.parquet_file import ParquetFrame
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


def given(frame, belongs):
    return load(Table(frame, "x", belongs=belongs), target="answer")


def test_held_out_rows_leave_the_encoder_unchanged():
    belongs = np.arange(len(FRAME)) % 3
    found = given(FRAME, belongs)
    for split in (1, 2):
        chosen = pl.Series(belongs == split)
        changed = FRAME.with_columns(
            age=pl.when(chosen).then(1e6).otherwise("age"),
            size=pl.when(chosen).then(None).otherwise("size"),
            colour=pl.when(chosen).then(pl.lit("violet")).otherwise("colour"),
            joined=pl.when(chosen).then(pl.lit("1970-01-01")).otherwise("joined"),
        )
        assert given(changed, belongs).encoder == found.encoder
        moved = changed.with_columns(size=pl.when(pl.int_range(len(FRAME)) == 0).then(0.0).otherwise("size"))
        assert given(moved, belongs).encoder != found.encoder  # the comparison can fail


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
    frame[5, "x"] = 0.2
    inputs = given(frame.with_columns(z=pl.int_range(60) * 0.5), np.arange(60) % 3).test.inputs["numeric"]
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
    only = pl.int_range(60) == 5
    frame = FRAME.with_columns(w=pl.when(only).then(pl.lit("word")), n=pl.when(only).then(3.5))
    found = given(frame, (np.arange(60) % 5 == 0) * 2)
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


WIDE = pl.DataFrame(
    {
        "price": [None if row % 9 == 4 else f"${row * 37 % 5000 + 999:,}" for row in range(3000)],
        "share": [f"{row % 101},5%" for row in range(3000)],
        "day": [f"{row % 28 + 1}/{row % 12 + 1}/2021" for row in range(3000)],
        "skewed": [math.exp(row * 7919 % 3000 / 200) for row in range(3000)],
        "steps": [float(row % 4) for row in range(3000)],
        "flag": [("Yes", "No", None)[row % 3] for row in range(3000)],
        "word": [None if row % 8 == 1 else f"w{row % 40}" for row in range(3000)],
    }
)
KINDS = dict.fromkeys(["price", "share", "skewed", "steps"], "numeric") | {
    "day": "date",
    "flag": "boolean",
    "word": "categorical",
}
TRAIN = np.arange(3000)[np.arange(3000) % 10 < 7]


@pytest.mark.parametrize("scale", ["standard", "quantile"])
def test_fitting_and_encoding_at_once_is_the_same_as_one_after_the_other(tmp_path, scale):
    WIDE.write_csv(tmp_path / "x.csv")
    WIDE.write_parquet(tmp_path / "x.parquet", row_group_size=500)
    for source in (WIDE, tmp_path / "x.csv", tmp_path / "x.parquet"):
        table = read_table(source)
        encoder, inputs = TableEncoder.fit_encode(table, torch.from_numpy(TRAIN), KINDS, scale=scale)
        assert encoder == TableEncoder.fit(table.take(TRAIN), KINDS, scale=scale)
        again = encoder_from_json(json.loads(json.dumps(encoder.to_json())))
        assert again == encoder
        for other in (encoder.encode(table), again.encode(again.read(source))):
            assert all(torch.equal(inputs[name], other[name]) for name in inputs)
        assert inputs["numeric"].shape == (3000, encoder.spec["num_numeric"]) == (3000, 8)
        assert torch.equal(encoder.prepare(inputs)["numeric"], inputs["numeric"])


@pytest.mark.parametrize("scale", ["standard", "quantile"])
def test_other_rows_than_those_of_training_change_not_one_bit_of_the_encoder(scale):
    other = ~pl.int_range(3000).is_in(TRAIN.tolist())
    changed = WIDE.with_columns(
        price=pl.when(other).then(pl.lit("$9,999,999")).otherwise("price"),
        share=pl.when(other).then(pl.lit("-1%")).otherwise("share"),
        day=pl.when(other).then(pl.lit("1/1/1971")).otherwise("day"),
        skewed=pl.when(other).then(None).otherwise("skewed"),
        steps=pl.when(other).then(-1e9).otherwise("steps"),
        flag=pl.when(other).then(pl.lit("no")).otherwise("flag"),
        word=pl.when(other).then(pl.lit("never seen")).otherwise("word"),
    )

    def fitted(frame):
        return json.dumps(TableEncoder.fit_encode(read_table(frame), TRAIN, KINDS, scale=scale)[0].to_json())

    assert fitted(changed) == fitted(WIDE)
    row = pl.int_range(3000) == int(TRAIN[5])
    assert fitted(WIDE.with_columns(steps=pl.when(row).then(77.0).otherwise("steps"))) != fitted(WIDE)


def test_quantiles_map_numbers_as_scikit_learn_does():
    from sklearn.preprocessing import QuantileTransformer

    table = read_table(WIDE)
    kinds = dict.fromkeys(["skewed", "steps"], "numeric")
    for rows in (TRAIN, TRAIN[:50]):  # more than the knots, and fewer
        _, inputs = TableEncoder.fit_encode(table, rows, kinds, scale="quantile")
        values = WIDE.select(list(kinds)).to_numpy()
        transformer = QuantileTransformer(
            n_quantiles=min(1000, len(rows)), output_distribution="normal", subsample=None
        ).fit(values[rows])
        assert np.allclose(inputs["numeric"], transformer.transform(values), atol=2e-6)


def test_quantiles_leave_gaps_booleans_and_constants_as_they_are():
    frame = pl.DataFrame({"x": [1.0, None, 2.0, 4.0] * 5, "b": [True, False] * 10, "c": [5.0] * 20, "n": [None] * 20})
    kinds = {"x": "numeric", "b": "boolean", "c": "numeric", "n": "numeric"}
    encoder, inputs = TableEncoder.fit_encode(read_table(frame), range(20), kinds, scale="quantile")
    assert [len(column.knots) for column in encoder.numeric] == [15, 0, 0, 0]
    numeric = inputs["numeric"]
    assert numeric[1, 0] == 0
    assert numeric[:, 1].tolist() == [1, -1] * 10
    assert numeric[:, 2].tolist() == numeric[:, 3].tolist() == [0] * 20
    assert numeric[:, 4].tolist() == [0, 1, 0, 0] * 5
    far = encoder.encode(frame.with_columns(x=pl.lit(1e300)))["numeric"]
    assert 5 < float(far[0, 0]) < 5.3
    with pytest.raises(InputError, match="expected a finite number, found inf"):
        encoder.encode(frame.with_columns(x=pl.lit(math.inf)))
    with pytest.raises(InputError, match=r"scale: expected one of standard, quantile, found 'quantil'\. Did you mean"):
        TableEncoder.fit(read_table(frame), kinds, scale="quantil")


@pytest.mark.parametrize(
    "damage",
    [
        {"knots": [2.0, 1.0]},
        {"knots": [1.0, 1.0]},
        {"knots": [0.0, float("nan")]},
        {"knots": ["a", "b"]},
        {"knots": list(range(2000))},
        {"form": {"decimal": "x"}},
        {"form": {"date": "%s"}},
        {"form": {"before": 3}},
        {"form": {"else": ""}},
        {"form": "plain"},
    ],
)
def test_damaged_forms_and_knots_are_refused(damage):
    encoder, _ = TableEncoder.fit_encode(read_table(WIDE), TRAIN, KINDS, scale="quantile")
    content = json.loads(json.dumps(encoder.to_json()))
    encoder_from_json(content)
    content["numeric"][0] |= damage
    with pytest.raises(RefusedError, match="damaged"):
        encoder_from_json(content)


def test_new_rows_are_read_in_the_form_of_training(tmp_path):
    encoder = TableEncoder.fit(read_table(WIDE), {"price": "numeric", "day": "date"})
    path = tmp_path / "new.csv"
    path.write_text('price,day\n"$1,500",3/4/2021\n$20,4/3/2021\n')
    typed = pl.DataFrame({"price": [1500, 20], "day": [dt.date(2021, 4, 3), dt.date(2021, 3, 4)]})
    assert torch.equal(encoder.encode(encoder.read(path))["numeric"], encoder.encode(typed)["numeric"])
    path.write_text("price,day\n20 $,3/4/2021\n")
    with pytest.raises(InputError, match=r"line 2, column 'price': expected a number like '\$1,234\.5', found '20 \$'"):
        encoder.encode(encoder.read(path))


def test_of_very_many_categories_the_frequent_ones_are_kept(monkeypatch):
    monkeypatch.setattr(tabular, "MANY_CATEGORIES", 10)
    monkeypatch.setattr(tabular, "MOST_CATEGORIES", 15)
    words = [f"w{row % 12}" for row in range(100)] + ["z1", "z2"] * 2 + [f"once{row}" for row in range(20)] + ["z3"] * 3
    for most, kept in ((15, 15), (13, 13)):
        monkeypatch.setattr(tabular, "MOST_CATEGORIES", most)
        table = read_table(pl.DataFrame({"c": words}))
        encoder, inputs = TableEncoder.fit_encode(table, range(len(words)), {"c": "categorical"})
        (column,) = encoder.categorical
        assert len(column.categories) == kept
        assert set(column.categories) >= {"w0", "w11", "z3"}
        assert inputs["categories"][104:124].unique().tolist() == [0]
        assert encoder.remarks == [
            f"column 'c': 35 categories in training; the {kept} most frequent are kept, the others count as missing."
        ]
        assert "were not seen often enough in training" in encoder.notes(table)[0]
        assert encoder_from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_a_parquet_file_is_read_a_column_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "[x]=1.parquet"  # a name that means something to those who look for many files
    frame = WIDE.with_columns(
        nested=pl.Series([[1, 2]] * 3000),
        decimal=pl.Series([f"{row}.25" for row in range(3000)]).cast(pl.Decimal(12, 2)),
        compact=pl.col("word").cast(pl.Categorical),
        zoned=pl.datetime(2021, 1, 1, time_zone="Europe/Berlin") + pl.duration(hours=pl.int_range(3000)),
        empty=pl.lit(None),
        nan=pl.when(pl.int_range(3000) % 2 == 0).then(math.nan).otherwise(1.0),
    )
    frame.write_parquet(path)
    monkeypatch.setattr(ParquetFrame, "collect", lambda _: pytest.fail("the whole file was read"))
    table = read_table(path)
    assert (len(table), table.columns) == (3000, frame.columns)
    found = {name: describe(table, name) for name in table.columns}
    assert {name: found[name].kind for name in found if name not in WIDE.columns} == {
        "nested": "ignored", "decimal": "numeric", "compact": "categorical", "zoned": "date", "empty": "constant", "nan": "numeric",
    }  # fmt: skip
    assert found["nan"].missing == 1500
    kinds = {name: column.kind for name, column in found.items() if column.kind in (*NUMERIC_KINDS, "categorical")}
    encoder, inputs = TableEncoder.fit_encode(table, TRAIN, kinds)
    _, whole = TableEncoder.fit_encode(read_table(frame), TRAIN, kinds)
    assert all(torch.equal(inputs[name], whole[name]) for name in inputs)
    part = replace(table, name="other").take([7, 3]).take([1])
    assert part.column("price").to_list() == [WIDE["price"][3]]
    assert part.place(0) == "other, row 3"
    assert numbers_of(table, "zoned", "date")[0] == (
        dt.datetime(2020, 12, 31, 23, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    ) / dt.timedelta(1)
    assert encoder.ids(table) is None


def test_a_damaged_column_of_a_parquet_file_is_named(tmp_path):
    pl.DataFrame({"a": range(5000), "b": np.random.default_rng(0).normal(size=5000)}).write_parquet(
        tmp_path / "x.parquet"
    )
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[-20_000:-15_000] = bytes(5000)  # of the numbers of b
    (tmp_path / "x.parquet").write_bytes(content)
    table = read_table(tmp_path / "x.parquet")
    assert table.column("a").to_list() == list(range(5000))
    with pytest.raises(InputError, match=r"x\.parquet, column 'b': can't be read") as error:
        table.column("b")
    assert len(str(error.value).splitlines()) == 1
