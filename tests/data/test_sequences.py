from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from truestep.data.columns import describe
from truestep.data.sequences import SequenceEncoder, Windows, split_windows, window_rows
from truestep.data.table import table_of_file, table_of_frame
from truestep.data.targets import choose_target, encode_targets
from truestep.errors import InputError
from truestep.nest import take

KINDS = {"x": "numeric", "c": "categorical"}


def series(sizes=(9, 4, 7), seed=0):
    """Several series, their rows in any order."""
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    frame = pl.DataFrame(
        {
            "shop": np.repeat([f"shop {number}" for number in range(len(sizes))], sizes),
            "day": np.concatenate([np.arange(size) for size in sizes]) * 10,
            "x": rng.normal(3, 2, count),
            "c": rng.choice(["a", "b", "c"], count),
            "y": rng.normal(100, 10, count),
        }
    )
    return frame[rng.permutation(count)]


def fit(frame, rows=None, kinds=KINDS, **choices):
    table = table_of_frame(frame, "sales")
    target = choose_target(table, "y")
    rows = torch.arange(len(frame)) if rows is None else rows
    choices = {"window": 3, "horizon": 1, "group": "shop", "time": "day", **choices}
    return SequenceEncoder.fit_encode(table, rows, kinds, target=target, **choices)


def by_hand(frame, window, horizon):
    """Every window as (rows in it, the row asked about), in the order of its last row, by plain loops."""
    found = []
    for shop in frame["shop"].unique():
        rows = [row for row in range(len(frame)) if frame["shop"][row] == shop]
        rows.sort(key=lambda row: frame["day"][row])
        starts = range(len(rows) - window - horizon + 1)
        found += [(rows[start : start + window], rows[start + window - 1 + horizon]) for start in starts]
    return sorted(found, key=lambda each: each[0][-1])


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("window", [1, 3, 4])
def test_windows_are_those_that_plain_loops_find(window, horizon):
    frame = series()
    encoder, windows = fit(frame, window=window, horizon=horizon)
    expected = by_hand(frame, window, horizon)
    assert len(windows) == len(expected)
    assert window_rows(windows).tolist() == [asked for _, asked in expected]
    assert windows.last_rows.tolist() == [rows[-1] for rows, _ in expected]
    names = ["x", "y"] if horizon else ["x"]
    scaled = np.stack([(frame[name] - frame[name].mean()) / frame[name].std(ddof=0) for name in names], 1)
    letters = frame["c"].replace_strict({"a": 1, "b": 2, "c": 3}).to_numpy()
    batch = take(windows, torch.arange(len(windows)))
    assert batch["numeric"].shape == (len(expected), window, len(names))
    assert batch["numeric"].dtype == torch.float32
    assert batch["categories"].dtype == torch.int64
    for place, (rows, _) in enumerate(expected):
        assert np.allclose(batch["numeric"][place], scaled[rows], atol=1e-6)
        assert batch["categories"][place, :, 0].tolist() == letters[rows].tolist()
    assert encoder.spec == {
        "kind": "sequence",
        "length": window,
        "num_numeric": len(names),
        "cardinalities": [4],
    }


def test_any_windows_in_any_order_make_a_batch_also_in_another_process():
    _, windows = fit(series())
    assert isinstance(windows, Windows)
    batch = windows.batch_of(torch.tensor([5, 0, 5]))
    again = pickle.loads(pickle.dumps(windows)).batch_of(torch.tensor([5]))
    assert torch.equal(batch["numeric"][[0, 2]], again["numeric"].expand(2, -1, -1))
    assert windows.batch_of(torch.tensor([], dtype=torch.int64))["numeric"].shape == (0, 3, 2)


def test_rows_are_kept_once():
    _, windows = fit(series((500, 400)), window=100)
    assert windows.values["numeric"].shape == (900, 2)
    assert len(windows) == 400 + 300


def test_the_order_of_the_rows_changes_nothing_but_their_numbers():
    frame = series()
    order = np.random.default_rng(1).permutation(len(frame))
    (_, one), (_, two) = fit(frame), fit(frame[order])
    asked = {int(row): place for place, row in enumerate(window_rows(one))}
    places = torch.tensor([asked[int(order[row])] for row in window_rows(two)])
    assert torch.equal(one.batch_of(places)["numeric"], two.batch_of(torch.arange(len(two)))["numeric"])


def test_without_group_and_time_rows_follow_each_other_as_they_are():
    frame = series((8,)).drop("shop", "day")
    encoder, windows = fit(frame, group=None, time=None, window=2)
    assert window_rows(windows).tolist() == [2, 3, 4, 5, 6, 7]
    assert encoder.ids(frame)["row"].to_list() == [1, 2, 3, 4, 5, 6, 7]


def test_statistics_come_from_training_rows_only():
    frame = series()
    train = torch.arange(12)
    other = frame.with_columns(
        pl.when(pl.int_range(pl.len()) >= 12).then(pl.col("x") * 1e3).otherwise("x").alias("x"),
        pl.when(pl.int_range(pl.len()) >= 12).then(pl.lit("new")).otherwise("c").alias("c"),
    )
    assert fit(frame, train)[0] == fit(other, train)[0]


def test_the_future_changes_no_earlier_input():
    frame = series((40,)).sort("day")
    later = pl.int_range(pl.len()) >= 30
    changed = frame.with_columns(
        [pl.when(later).then(pl.col(name) * -7 + 3).otherwise(name).alias(name) for name in ("x", "y")]
    )
    (_, before), (_, after) = fit(frame, torch.arange(20)), fit(changed, torch.arange(20))
    past = (before.last_rows < 30).nonzero()[:, 0]
    assert len(past) == 28
    assert torch.equal(before.batch_of(past)["numeric"], after.batch_of(past)["numeric"])
    rest = (before.last_rows >= 30).nonzero()[:, 0]
    assert not torch.equal(before.batch_of(rest)["numeric"], after.batch_of(rest)["numeric"])


def test_with_horizon_0_the_target_is_no_input_and_need_not_be_there():
    frame = series()
    encoder, windows = fit(frame, horizon=0, kinds=KINDS | {"y": "numeric"})
    assert encoder.spec["num_numeric"] == 1
    shuffled = frame.with_columns(pl.col("y").reverse())
    again = encoder.encode(shuffled)
    assert torch.equal(windows.values["numeric"], again.values["numeric"])
    assert len(encoder.encode(frame.drop("y"))) == len(windows)


def test_with_a_horizon_the_past_of_the_target_is_an_input():
    frame = series((30,)).sort("day").select("shop", "day", "y")
    encoder, windows = fit(frame, kinds={})
    values = windows.batch_of(torch.tensor([4]))["numeric"][0, :, 0] * frame["y"].std(ddof=0) + frame["y"].mean()
    assert np.allclose(values, frame["y"][4:7], atol=1e-3)
    with pytest.raises(InputError, match="expected a column 'y'"):
        encoder.encode(frame.drop("y"))


def test_a_class_is_a_category_in_the_past():
    frame = series((30,)).sort("day").with_columns(y=pl.Series(["up", "down", "same"] * 10))
    encoder, _ = fit(frame)
    assert encoder.spec["cardinalities"] == [4, 4]
    assert encoder.spec["num_numeric"] == 1


def split_by_hand(windows, belongs, window, horizon, frame):
    found = ([], [], [])
    for place, (rows, asked) in enumerate(by_hand(frame, window, horizon)):
        series_rows = [row for row in range(len(frame)) if frame["shop"][row] == frame["shop"][asked]]
        days = frame["day"][rows[0]], frame["day"][asked]
        touched = [row for row in series_rows if days[0] <= frame["day"][row] <= days[1]]
        split = int(belongs[asked])
        if all(belongs[row] <= split for row in touched):
            found[split].append(place)
    return found


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("by", ["time", "group", "row"])
def test_windows_are_split_as_plain_loops_split_them(by, horizon):
    frame = series((20, 12, 30, 5))
    if by == "time":
        belongs = torch.tensor((frame["day"] >= 80).cast(int).to_numpy() + (frame["day"] >= 110).cast(int).to_numpy())
    elif by == "group":
        belongs = torch.tensor(frame["shop"].str.slice(-1).cast(int).clip(0, 2).to_list())
    else:
        belongs = torch.from_numpy(np.random.default_rng(0).integers(0, 3, len(frame)))
    _, windows = fit(frame, horizon=horizon)
    splits = split_windows(windows, belongs)
    assert [split.tolist() for split in splits] == list(split_by_hand(windows, belongs, 3, horizon, frame))
    if by == "time":
        assert len(torch.cat(splits)) == len(windows)
        asked = window_rows(windows)
        days = torch.tensor(frame["day"].to_list())
        assert days[asked[splits[0]]].max() < 80 <= days[asked[splits[1]]].min()
        assert len(splits[1]) == 3 + 3 + 3  # days 80, 90, 100 of the three shops that lived so long: they look back


def test_predictions_are_for_every_row_with_a_full_history_in_their_order():
    frame = series()
    encoder, windows = fit(frame, window=3, horizon=2)
    raw = encoder.encode(frame)
    expected = [rows[-1] for rows, _ in by_hand(frame, 3, 0)]
    assert len(raw) == 7 + 2 + 5 > len(windows)
    assert encoder.ids(frame).equals(frame[expected].select("shop", "day"))
    labelled, targets = encoder.encode_labelled(frame, choose_target(table_of_frame(frame), "y"))
    assert torch.equal(labelled.starts, windows.starts)
    assert torch.equal(targets, torch.tensor(frame["y"].to_list(), dtype=torch.float32)[window_rows(windows)])


def test_json_gives_back_the_same_encoder():
    encoder, _ = fit(series())
    content = json.loads(json.dumps(encoder.to_json()))
    again = SequenceEncoder.from_json(content)
    assert again == encoder
    one, two = encoder.encode(series(seed=3)), again.encode(series(seed=3))
    assert torch.equal(one.values["numeric"], two.values["numeric"])
    for damage in ({"window": 0}, {"horizon": -1}, {"window": "3"}, {"group": 3}, {"table": {}}, {"time": ["day"]}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            SequenceEncoder.from_json(content | damage)


@pytest.mark.parametrize(
    "form",
    [
        lambda time: time,
        lambda time: time.date(),
        lambda time: time.isoformat(),
        lambda time: time.strftime("%Y-%m-%d"),
        lambda time: int(time.timestamp() * 1e6) * 1000 + 1,
        lambda time: str(int(time.timestamp() * 1e6) * 1000 + 1),
        lambda time: time.timestamp() / 3600 + 0.25,
    ],
)
def test_times_are_dates_or_numbers_of_any_spelling(form):
    start = datetime(2024, 2, 25)  # noqa: DTZ001
    times = [form(start + timedelta(days=day)) for day in range(12)]
    frame = pl.DataFrame({"day": times, "y": np.arange(12) + 0.5})[::-1]
    _, windows = fit(frame, kinds={}, group=None)
    assert sorted(window_rows(windows).tolist()) == list(range(9))
    order = windows.batch_of(torch.arange(len(windows)))["numeric"][:, :, 0]
    assert bool((order.diff(dim=1) > 0).all())
    assert windows.notes == []


def test_nanoseconds_next_to_each_other_are_two_times():
    frame = pl.DataFrame({"day": [10**18 + k for k in range(12)], "y": np.arange(12) + 0.5})
    assert len(fit(frame, kinds={}, group=None)[1]) == 9


def test_gaps_and_short_series_are_noted():
    frame = series((9, 2, 7)).filter(~((pl.col("shop") == "shop 0") & (pl.col("day").is_in([40, 50]))))
    encoder, windows = fit(frame)
    gap, short = windows.notes
    assert gap.startswith(
        "column 'day': 1 of 13 steps from row to row is longer than usual, the longest from '30' to '60'"
    )
    assert short == "1 of 3 series is shorter than 4 rows and has no window."
    assert "1 of 3 series is shorter than 3 rows and has no prediction." in encoder.notes(frame)


def test_a_linear_model_on_windows_of_a_real_process_beats_the_mean_and_comes_near_its_noise():
    rng = np.random.default_rng(0)
    noise, values = rng.normal(0, 1, 1200), np.zeros(1200)
    for t in range(2, 1200):
        values[t] = 1.6 * values[t - 1] - 0.8 * values[t - 2] + noise[t]
    frame = pl.DataFrame({"day": range(1200), "y": values + 50})
    table = table_of_frame(frame)
    target = choose_target(table, "y")
    belongs = torch.tensor([0] * 900 + [1] * 100 + [2] * 200)
    rows = (belongs == 0).nonzero()[:, 0]
    _, windows = SequenceEncoder.fit_encode(table, rows, {}, target=target, window=4, horizon=1, time="day")
    targets = encode_targets(table, target)[window_rows(windows)].double().numpy()
    train, _, test = split_windows(windows, belongs)
    assert len(test) == 200
    design = [np.c_[windows.batch_of(part)["numeric"][:, :, 0].double(), np.ones(len(part))] for part in (train, test)]
    weights = np.linalg.lstsq(design[0], targets[train], rcond=None)[0]
    error = np.mean((design[1] @ weights - targets[test]) ** 2)
    assert error == pytest.approx(1.0, abs=0.25)  # the noise that nobody can know
    assert error < 0.2 * targets[test].var()


def text_of(*changes, header="shop,day,x,y", rows=12):
    lines = [header] + [f"{'ab'[i % 2]},2024-01-{i + 1:02},{i * 0.5},{(i * 7) % 11}.5" for i in range(rows)]
    for line, text in changes:
        lines[line - 1] = text
    return "\n".join(lines) + "\n"


BAD = [
    (text_of((5, "a,2024-01-01,1,2.5")), {}, "x.csv, line 5, column 'day': expected one row for each day of a shop, found '2024-01-01' again (first at x.csv, line 2)."),
    (text_of((9, "a,2024-01-02,1,2.5")), {"group": None}, "line 9, column 'day': expected one row for each day, found '2024-01-02' again (first at x.csv, line 3). If the rows are of several series, name the column that tells them apart: --group."),
    (text_of((4, "a,,1,2.5")), {}, "x.csv, line 4, column 'day': expected a time in every row, found none."),
    (text_of((4, "a,soon,1,2.5")), {}, "x.csv, line 4, column 'day': expected a date such as 2026-01-31, or a number, found 'soon'."),
    (text_of((4, "a,2024-02-30,1,2.5")), {}, "x.csv, line 4, column 'day': expected a date such as 2026-01-31, or a number, found '2024-02-30'."),
    (text_of((4, "a,17,1,2.5")), {}, "expected a number as in other rows, found '2024-01-01'"),
    (text_of((4, ",2024-01-03,1,2.5")), {}, "x.csv, line 4, column 'shop': expected the name of its series in every row, found none."),
    (text_of(), {"window": 6}, "x.csv: expected at least 7 rows of one shop that follow each other (window 6, horizon 1), found at most 6: the series are all too short. Choose a smaller window."),
    (text_of(), {"group": None, "window": 9, "horizon": 4}, "x.csv: expected at least 13 rows that follow each other (window 9, horizon 4), found at most 12: the series is too short."),
    (text_of(), {"window": 0}, "window: expected at least 1 row, found 0."),
    (text_of(), {"horizon": -1}, "horizon: expected 0 rows or more, found -1."),
    (text_of(), {"group": "shp"}, "x.csv: expected a column 'shp', found shop, day, x, y. Did you mean 'shop'?"),
    (text_of(), {"time": "date"}, "x.csv: expected a column 'date', found shop, day, x, y."),
    (text_of(), {"time": "shop"}, "x.csv: expected different columns for group and time, found 'shop'."),
    (text_of(), {"time": "y"}, "x.csv: expected different columns for time and target, found 'y'."),
    (text_of(), {"kinds": {}, "horizon": 0}, "x.csv: expected a column to learn from besides 'y', its group and its time, found none."),
    (text_of((7, "b,2024-01-06,much,2.5")), {}, "x.csv, line 7, column 'x': expected a number, found 'much'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "choices", "words"), BAD)
def test_series_that_are_none_are_refused_in_one_line(tmp_path, text, choices, words):
    (tmp_path / "x.csv").write_text(text)
    table = table_of_file(tmp_path / "x.csv")
    choices = {"window": 2, "horizon": 1, "group": "shop", "time": "day", "kinds": {"x": "numeric"}, **choices}
    with pytest.raises(InputError) as error:
        SequenceEncoder.fit_encode(table, torch.arange(len(table.frame)), target=choose_target(table, "y"), **choices)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_of_too_few_rows_to_predict_from_is_refused():
    encoder, _ = fit(series())
    with pytest.raises(
        InputError,
        match=(
            r"^table: expected at least 3 rows of one shop that follow each other \(a window of 3\), found at most 2: "
            r"the series are all too short\. Give the rows before them, too"
        ),
    ):
        encoder.encode(series((2, 2)))


def test_columns_of_group_and_time_are_no_inputs():
    frame = series()
    table = table_of_frame(frame)
    kinds = {name: describe(table, name).kind for name in frame.columns}
    encoder, _ = fit(frame, kinds=kinds)
    assert [column.name for column in encoder.table.numeric] == ["x", "y"]
    assert [column.name for column in encoder.table.categorical] == ["c"]
