from __future__ import annotations

import importlib.util
from importlib import resources

import numpy as np
import polars as pl
import pytest
from sklearn import datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, cross_val_score

from truestep.data import bundled, load, read_table
from truestep.errors import InputError


def test_digits_are_those_of_scikit_learn():
    frame = read_table("digits").frame
    original = datasets.load_digits()
    assert np.array_equal(frame.drop("digit").to_numpy().astype(float), original.data)
    assert np.array_equal(frame["digit"].cast(int).to_numpy(), original.target)


@pytest.mark.parametrize("name", [name for name in bundled.BUNDLED if not name.startswith("speeches")])
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
    here = ["digits", "penguins", "flights", "speeches", "speeches-text"]
    assert [name for name, *_, available in bundled.names() if available] == here


def test_penguins_have_gaps_and_words():
    frame = read_table("penguins").frame
    assert frame["species"].value_counts().sort("species")["count"].to_list() == [152, 68, 124]
    assert frame.null_count().row(0) == (0, 0, 2, 2, 2, 2, 11, 0)


def test_flights_know_nothing_that_comes_after_departure():
    frame = read_table("flights").frame
    assert frame.columns == ["departure", "hour", "dep_delay", "carrier", "origin", "dest", "distance", "arr_delay"]
    assert frame.null_count().row(0) == (0,) * 8
    assert frame["departure"].is_sorted() or frame["departure"].str.slice(0, 10).str.to_date().n_unique() == 365
    arrival, departure = (frame[name].cast(int).to_numpy() for name in ("arr_delay", "dep_delay"))
    assert arrival.mean() == pytest.approx(6.895, abs=3 * 44.6 / 5000**0.5)  # of all 327,346 flights that arrived
    assert np.corrcoef(arrival, departure)[0, 1] == pytest.approx(0.915, abs=0.02)


def test_speeches_are_passages_of_one_president_and_one_party_each():
    table = read_table("speeches")
    frame = table.frame
    assert (len(frame), table.target, table.group) == (2375, "era", "president")
    assert table.kinds == {"text": "text", "president": "id", "year": "id", "party": "ignored", "era": "ignored"}
    held_out = frame.with_columns(split=pl.Series(table.belongs))
    assert held_out.group_by("split").agg(pl.col("era").n_unique())["era"].to_list() == [3, 3, 3]
    assert held_out.group_by("split").agg(pl.col("party").n_unique())["party"].to_list() == [2, 2, 2]
    assert held_out.group_by("president").agg(pl.col("split").n_unique())["split"].max() == 1
    assert frame.group_by("president").agg(pl.col("party").n_unique())["party"].max() == 1
    assert frame.select("president", "party").unique()["party"].value_counts().sort("party")["count"].to_list() == [
        9,
        12,
    ]
    lengths = frame["text"].str.len_chars()
    assert lengths.min() >= 400
    assert lengths.mean() < 600
    assert not frame["text"].str.contains(r"(?i)[(\[](applause|laughter)").any()
    assert frame["text"].str.contains(r"[.!?][\"”)\]]*$").all()


def test_running_text_is_all_passages_of_an_address_in_their_order():
    passages, table = read_table("speeches").frame, read_table("speeches-text")
    assert table.target is None
    assert table.kinds["text"] == "text"
    assert len(table.frame) == 60
    assert " ".join(table.frame["text"]) == " ".join(passages["text"])
    assert 1.1e6 < table.frame["text"].str.len_bytes().sum() < 1.3e6


def test_a_random_split_of_speeches_shows_the_president_not_the_party():
    """What the README says of the speeches, measured with scikit-learn."""
    frame = read_table("speeches").frame
    party = (frame["party"] == "Republican").to_numpy()
    texts = TfidfVectorizer(sublinear_tf=True, min_df=3).fit_transform(frame["text"])
    by_row = cross_val_score(RidgeClassifier(), texts, party, cv=KFold(5, shuffle=True, random_state=0)).mean()
    groups = frame["president"].to_numpy()
    by_president = cross_val_score(RidgeClassifier(), texts, party, groups=groups, cv=GroupKFold(7)).mean()
    assert party.mean() == pytest.approx(0.589, abs=1e-3)
    assert by_row == pytest.approx(0.76, abs=0.02)
    assert by_president == pytest.approx(0.53, abs=0.03)


def test_the_files_are_small_and_hold_no_time():
    folder = resources.files("truestep.data") / "files"
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith(".gz")}
    assert sum(map(len, contents.values())) < 1_000_000
    assert [name for name, content in contents.items() if content[4:8] != bytes(4)] == []
    readme = (folder / "README.md").read_text()
    assert [name for name in contents if f"`{name}`" not in readme] == []
