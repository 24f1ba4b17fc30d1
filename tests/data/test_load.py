from __future__ import annotations

import json

import polars as pl
import pytest
import torch

from truestep.data import bundled, load, read_table
from truestep.data.encoder import encoder_from_json
from truestep.errors import InputError
from truestep.nest import take


@pytest.mark.parametrize("name", [name for name in bundled.BUNDLED if name != "speeches-text"])
def test_rows_belong_to_one_split_and_keep_their_numbers(name):
    data = load(name)
    rows = torch.cat([split.rows for split in data.splits.values()])
    assert sorted(rows.tolist()) == list(range(data.facts.rows))
    encoded, targets = data.encoder.encode_labelled(name, data.target)
    for split in data.splits.values():
        assert len(split) == len(split.rows) == len(split.targets)
        assert torch.equal(targets[split.rows], split.targets)
        whole, part = take(encoded, split.rows), split.inputs
        for key in whole if isinstance(whole, dict) else ():
            assert torch.equal(whole[key], part[key])
        assert isinstance(whole, dict) or torch.equal(whole, part)


def test_the_same_seed_gives_the_same_data_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first, again, other = load("digits", seed=3), load("digits", seed=3), load("digits", seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.rows, other.train.rows)


def test_without_held_out_rows_everything_is_for_training():
    data = load("iris", valid=0, test=0)
    assert [len(split) for split in data.splits.values()] == [150, 0, 0]
    assert data.valid.inputs["numeric"].shape == (0, 4)


def test_a_path_names_the_data_and_drop_and_kinds_are_heard(tmp_path):
    read_table("iris").frame.write_csv(tmp_path / "flowers.v2.csv")
    data = load(
        str(tmp_path / "flowers.v2.csv"),
        target="species",
        drop=["sepal_width_cm"],
        kinds={"petal_width_cm": "categorical"},
    )
    assert data.name == "flowers"
    assert data.encoder.spec["num_numeric"] == 2
    assert len(data.encoder.spec["cardinalities"]) == 1


def test_another_target_than_the_known_one_can_be_learnt():
    data = load("iris", target="petal_width_cm")
    assert data.target.task == "regression"
    assert "categories" in data.train.inputs


class Frame:
    """As much of pandas as is looked at before polars takes over."""

    __module__ = "pandas.core.frame"


def test_pandas_frames_go_through_polars(monkeypatch):
    iris = read_table("iris").frame
    monkeypatch.setattr(pl, "from_pandas", lambda _: iris)
    assert load(Frame(), target="species").facts.rows == 150
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"table: can't be taken over from pandas .*to_parquet"):
        load(Frame(), target="species")


def test_pandas_frames_with_two_columns_of_one_name_are_refused_by_that_name():
    frame = Frame()
    frame.columns = ["a", "b", "a", 2, "2", "c"]
    with pytest.raises(InputError, match="expected every column to have its own name, found more than one 'a', '2'"):
        load(frame, target="c")


def test_a_number_for_the_name_of_a_column_is_refused_with_the_text_to_say():
    with pytest.raises(InputError, match=r"target: expected text, found 2\. Say '2'\."):
        load(pl.DataFrame({"1": range(20), "2": [0, 1] * 10}), target=2)


def test_lazy_frames_and_compact_types_are_taken():
    iris = read_table("iris").frame.with_columns(pl.col("species").cast(pl.Categorical)).lazy()
    assert torch.equal(load(iris, target="species").train.inputs["numeric"], load("iris").train.inputs["numeric"])


def test_rows_without_a_target_are_left_out_and_named(tmp_path):
    lines = ["x,y", *(f"{i * 0.5},{'' if i in (3, 8) else 'ab'[i % 2]}" for i in range(40))]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    data = load(tmp_path / "x.csv", target="y")
    assert data.facts.rows == 38
    assert "2 of 40 rows have no 'y' and are left out (the first: x.csv, line 5)." in data.facts.notes
    names = torch.cat([split.names[split.rows] for split in data.splits.values()])
    assert sorted(names.tolist()) == [i for i in range(40) if i not in (3, 8)]
    whole = load(pl.read_csv(tmp_path / "x.csv").with_columns(pl.col("y").fill_null("a")), target="y")
    assert set(data.train.names[data.train.rows].tolist()) <= set(whole.train.rows.tolist())  # they move no other row


@pytest.mark.parametrize("choice", [{"horizon": 3}, {"tokenizer": "bytes"}, {"image_size": 32}, {"length": 9}])
def test_a_choice_for_other_data_is_refused(choice):
    with pytest.raises(InputError, match=rf"^data.{next(iter(choice))}: expected data of kind .*, found table\.$"):
        load("iris", **choice)
    with pytest.raises(InputError, match=r"found arrays\.$"):
        load((torch.ones(30, 2).numpy(), (torch.arange(30) % 2).numpy()), **choice)


def test_the_same_words_are_missing_in_files_and_frames(tmp_path):
    frame = pl.DataFrame({"x": [["1.5", "-", "NA", "2.5"][i % 4] for i in range(40)], "y": ["a", "b"] * 20})
    frame.write_csv(tmp_path / "x.csv")
    frame.write_parquet(tmp_path / "x.parquet")
    found = [load(source, target="y") for source in (frame, tmp_path / "x.csv", tmp_path / "x.parquet")]
    assert found[0].encoder == found[1].encoder == found[2].encoder
    assert found[0].encoder.numeric[0].indicator


@pytest.mark.parametrize("limit", [1 << 27, 10])
def test_words_that_a_user_calls_missing_are_so_in_files_and_frames_and_for_predictions(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("truestep.data.csv_file.IN_MEMORY", limit)  # below it, columns are kept on the disk
    words = ["1.5", "Unknown", "tbd ", "2.5"]
    frame = pl.DataFrame(
        {"x": [words[i % 4] for i in range(80)], "z": ["TBD", "u"] * 40, "y": ["a", "b", "b"] * 26 + ["tbd"] * 2}
    )
    frame.write_csv(tmp_path / "x.csv")
    frame.with_columns(pl.col("x").cast(pl.Categorical)).write_parquet(tmp_path / "x.parquet")
    plain = frame.with_columns(pl.all().str.strip_chars().str.replace("(?i)^(unknown|tbd)$", "NA"))
    plain.write_csv(tmp_path / "plain.csv")
    expected = load(tmp_path / "plain.csv", target="y")
    for source in (frame, tmp_path / "x.csv", tmp_path / "x.parquet"):
        data = load(source, target="y", missing=["UNKNOWN", "tbd"])
        assert [column.kind for column in data.facts.columns] == ["numeric", "categorical", "target"]
        assert data.train.targets.tolist() == expected.train.targets.tolist()
        assert data.encoder.missing == ("unknown", "tbd")
        assert any(
            note.startswith(
                ("column 'x': 40 cells read as missing: 20 'Unknown'", "column 'x': 40 cells read as missing: 20 'tbd")
            )
            for note in data.facts.notes
        )
        again = encoder_from_json(json.loads(json.dumps(data.encoder.to_json())))
        assert again == data.encoder
        encoded = again.encode(again.read(source if isinstance(source, pl.DataFrame) else str(source)))
        for name, part in expected.encoder.encode(plain).items():
            assert torch.equal(encoded[name], part)
    assert load(frame, target="y").facts.columns[0].kind == "categorical"


def test_a_missing_text_is_empty_for_training_and_predictions_alike():
    frame = pl.DataFrame({"text": ["good words here", "bad words here", "removed"] * 20, "y": ["a", "b", "a"] * 20})
    data = load(frame, target="y", kinds={"text": "text"}, missing=["Removed"])
    assert any("20 of 60 texts are empty" in note for note in data.facts.notes)
    encoder = encoder_from_json(data.encoder.to_json())
    assert encoder.encode(pl.DataFrame({"text": ["REMOVED"]}))[0] == encoder.encode(pl.DataFrame({"text": [""]}))[0]


def test_words_that_are_missing_are_for_data_that_may_have_words():
    with pytest.raises(InputError, match=r"^data\.missing: expected data of kind table or"):
        load((torch.rand(40, 3), torch.arange(40) % 2), missing=["x"])


def test_targets_that_are_nearly_numbers_name_the_words_in_the_way():
    frame = pl.DataFrame(
        {"x": [i / 3 for i in range(100)], "y": [str(i * 7 / 11) for i in range(98)] + ["open", "-999x"]}
    )
    with pytest.raises(
        InputError,
        match=r"'open' \(table, row 98\) is no number, nor is '-999x'; if they stand for no value: --data\.missing open,-999x$",
    ):
        load(frame, target="y")
    data = load(frame, target="y", missing=["open", "-999x"])
    assert (data.target.task, data.facts.rows) == ("regression", 98)


def test_windows_that_are_mostly_padding_are_noted(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(f"a short text, number {number}")
    notes = load(str(tmp_path), length=256).facts.notes
    assert any("no text has more than" in note and "padding; --data.length 24 would do" in note for note in notes), (
        notes
    )
    assert not load(str(tmp_path), length=32).facts.notes


def test_a_wide_table_asks_polars_few_things_about_each_column(tmp_path, monkeypatch):
    """Each question costs a tenth of a millisecond, however few rows there are; there were 53 for a column."""
    columns = 300
    rows = [[f"{(row * (column + 3)) % 97 / 7:.4f}" for column in range(columns)] for row in range(60)]
    lines = [",".join([*cells, str(row % 2)]) for row, cells in enumerate(rows)]
    file = tmp_path / "wide.csv"
    file.write_text("\n".join([",".join([*(f"x{column}" for column in range(columns)), "y"]), *lines]))
    asked = 0
    answer = pl.LazyFrame._collect_eager

    def counted(*arguments, **choices):
        nonlocal asked
        asked += 1
        return answer(*arguments, **choices)

    monkeypatch.setattr(pl.LazyFrame, "_collect_eager", counted)
    load(str(file), target="y")
    assert 0 < asked < 10 * columns
