"""Columns of time are read as columns of dates are, whichever way the dates are written."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data import load
from truestep.data.encoder import encoder_from_json
from truestep.errors import InputError

DAYS = [dt.date(2021, 1, 20) + dt.timedelta(int(day)) for day in np.random.default_rng(0).permutation(100)]


def written(path, form, **cells):
    """Write a file whose days are in this form; `cells` of single lines are given as line_7="soon"."""
    numbers = np.random.default_rng(1).normal(size=(100, 2))
    days = [day.strftime(form) for day in DAYS]
    for line, cell in cells.items():
        days[int(line.removeprefix("line_")) - 2] = cell
    pl.DataFrame({"day": days, "x": numbers[:, 0], "y": numbers[:, 1]}).write_csv(path)
    return str(path)


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%m/%d/%Y", "%Y.%m.%d", "%d %B %Y", "%d.%m.%Y 10:30"])
@pytest.mark.parametrize("window", [0, 3])
def test_a_time_in_any_form_orders_rows_as_iso_dates_do(tmp_path, form, window):
    plain, other = (
        load(written(tmp_path / name, how), target="y", time="day", window=window)
        for name, how in (("iso.csv", "%Y-%m-%d"), ("other.csv", form))
    )
    for name in ("train", "valid", "test"):
        assert torch.equal(plain.splits[name].rows, other.splits[name].rows)
        assert torch.equal(plain.splits[name].targets, other.splits[name].targets)
    encoder = encoder_from_json(json.loads(json.dumps(other.encoder.to_json())))
    assert encoder == other.encoder


def test_few_rows_to_predict_are_read_as_those_of_training_were(tmp_path):
    data = load(written(tmp_path / "all.csv", "%d/%m/%Y"), target="y", time="day", window=3)
    new = pl.DataFrame({"day": ["01/03/2021", "02/02/2021", "03/02/2021"], "x": [1.0, 2.0, 3.0], "y": [0.0, 0.0, 0.0]})
    assert data.encoder.ids(new)["day"].to_list() == ["01/03/2021"]  # the first of March; alone nobody could tell


@pytest.mark.parametrize("window", [0, 3])
def test_a_row_without_a_time_or_with_another_word_is_named(tmp_path, window):
    with pytest.raises(InputError, match=r"days\.csv, line 8.*: expected a time in every row, found none"):
        load(written(tmp_path / "days.csv", "%d.%m.%Y", line_8=""), target="y", time="day", window=window)
    with pytest.raises(InputError, match=r"days\.csv, line 8, column 'day': expected a date like .*, found 'soon'"):
        load(written(tmp_path / "days.csv", "%d.%m.%Y", line_8="soon"), target="y", time="day", window=window)


def test_a_time_of_words_is_refused_with_what_stands_in_the_way(tmp_path):
    path = written(tmp_path / "days.csv", "%d.%m.%Y", line_8="soon", line_9="soon")
    with pytest.raises(InputError, match=r"to order by, found words.*'soon' .*line 8.* is no date like '") as e:
        load(path, target="y", time="day")
    assert "\n" not in str(e.value)


def test_a_kind_that_the_user_names_is_the_kind_of_a_time(tmp_path):
    path = written(tmp_path / "days.csv", "%d.%m.%Y", line_8="soon", line_9="soon")
    with pytest.raises(InputError, match=r"line 8, column 'day': expected a date like .*, found 'soon'"):
        load(path, target="y", time="day", kinds={"day": "date"})
