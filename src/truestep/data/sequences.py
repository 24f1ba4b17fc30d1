"""Time series as windows: W rows that follow each other, and what is asked of the row `horizon` rows after the last.

With horizon 0 the question is about the last row itself, which the model sees: all its columns but the target, which
is never an input then. With a horizon of 1 or more the target lies in the future, and its own past is an input.

A window never crosses groups. It belongs to the split of the row it is asked about, and may look back into rows of
earlier splits, as it could when it is used; a window that would touch rows of a later split belongs to none, so that
training never sees what came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from operator import index
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from truestep.data.columns import as_text, form_of, parse_numbers
from truestep.data.forms import Form, dates_of
from truestep.data.table import Table, shown
from truestep.data.tabular import TableEncoder
from truestep.data.targets import Target, encode_targets
from truestep.errors import InputError

IRREGULAR = 1.5  # times the usual time between rows: from here a gap is worth a note


@dataclass(frozen=True)
class Windows:
    """Windows over rows that are kept once, in the order of their series; a batch is cut when it is asked for."""

    values: Mapping[str, Tensor]  # numeric (R, F) float32, categories (R, K) int64
    starts: Tensor  # (M,) int64: the first row of each window, as a place in `values`
    window: int
    horizon: int
    rows: Tensor  # (R,) int64: which row of the table is at each place
    notes: list[str] = field(default_factory=list[str])  # what to tell the user about the rows

    def __len__(self) -> int:
        return len(self.starts)

    def batch_of(self, indices: Tensor) -> dict[str, Tensor]:
        """Return these windows: numeric (n, W, F) float32, categories (n, W, K) int64, a key only if it has columns."""
        places = (self.starts[indices][:, None] + torch.arange(self.window)).reshape(-1)
        shape = (len(indices), self.window)
        return {name: part.index_select(0, places).unflatten(0, shape) for name, part in self.values.items()}

    @property
    def last_rows(self) -> Tensor:
        """The row of the table that each window ends with: (M,) int64."""
        return self.rows[self.starts + self.window - 1]


def window_rows(windows: Windows) -> Tensor:
    """Return the row of the table that each window is asked about, (M,) int64: its target is that row's."""
    return windows.rows[windows.starts + windows.window - 1 + windows.horizon]


def split_windows(windows: Windows, belongs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the windows of train, valid and test, (m,) int64 each.

    Args:
        windows: that have targets.
        belongs: (R,) integers: 0 for rows of train, 1 of valid, 2 of test. Whole groups, or by time.

    A window is in the split of its target's row. One that touches a row of a later split, in the window or between it
    and the target, is left out.
    """
    sorted_belongs = belongs[windows.rows]
    touched = windows.window + windows.horizon
    asked = sorted_belongs[windows.starts + touched - 1]
    fits = torch.ones(len(windows), dtype=torch.bool)
    for split in (0, 1):  # how many of the rows touched are of a later split, as a difference of two sums
        later = torch.nn.functional.pad((sorted_belongs > split).long().cumsum(0), (1, 0))
        fits &= (asked != split) | (later[windows.starts + touched] == later[windows.starts])
    train, valid, test = ((fits & (asked == split)).nonzero()[:, 0] for split in range(3))
    return train, valid, test


@dataclass(frozen=True)
class SequenceEncoder:
    """Rows of a table to windows of them, each row encoded as `TableEncoder` does.

    The columns of group and time say which rows follow each other and are no inputs, so that a model can be asked
    about groups it has not seen, and about times later than any in training.
    """

    table: TableEncoder
    group: str | None  # the column that tells the series apart; None for one series
    time: str | None  # the column of numbers or dates that orders them; None for the order of the rows
    window: int
    horizon: int
    time_form: Form | None = None  # how its dates are written, where not as ISO dates
    id_column = None  # `ids` gives group and time

    @classmethod
    def fit_encode(
        cls,
        table: Table,
        rows: Tensor,
        kinds: Mapping[str, str],
        *,
        target: Target,
        window: int,
        horizon: int = 1,
        group: str | None = None,
        time: str | None = None,
    ) -> tuple[SequenceEncoder, Windows]:
        """Learn from training rows, and return the windows of all rows that have a row to be asked about.

        Args:
            table: all rows, in any order.
            rows: (n,) int64, those of training: statistics and categories come from them only.
            kinds: of the columns to use; of these group, time and target are passed over.
            target: what is asked; with a horizon of 1 or more its past becomes an input.
            window: rows that a model sees, at least 1.
            horizon: rows from the last one to the one asked about; 0 asks about the last one.
            group: column of the series that a row is of.
            time: column that orders the rows of a series.

        Raises:
            InputError: columns play two parts, a time is missing or there twice, or no series is long enough.
        """
        _check_choices(table, group, time, target.name, window, horizon)
        used = {name: kind for name, kind in kinds.items() if name not in (group, time, target.name)}
        if horizon:
            used[target.name] = "categorical" if target.has_classes else "numeric"
        if not used:
            raise InputError(
                f"{table.name}: expected a column to learn from besides '{target.name}', its group and its time, found "
                "none. With a horizon of 1 or more the past of the target itself is one."
            )
        rows_encoder = TableEncoder.fit(table.take(rows.tolist()), used)
        form = None if time is None or _has_numbers(table, time) else form_of(table, time, "date")
        encoder = cls(rows_encoder, group, time, window, horizon, form)
        order = encoder._order(table)
        notes = _gap_notes(table, order, time) + _short_notes(order, window + horizon, "no window")
        return encoder, replace(encoder._windows(table, order, horizon), notes=notes)

    @property
    def spec(self) -> dict[str, Any]:
        return {**self.table.spec, "kind": "sequence", "length": self.window}

    def read(self, source: Any) -> Table:
        """Read rows from anything `load` takes as a table."""
        return self.table.read(source)

    def encode(self, raw: Table | pl.DataFrame) -> Windows:
        """Return a window for every row with a full history, in the order of those rows; nothing is asked of others.

        Raises:
            InputError: a column is missing or a value not of its kind, or no series is long enough.
        """
        table = self.read(raw)
        return self._windows(table, self._order(table), 0)

    def encode_labelled(self, source: Any, target: Target) -> tuple[Windows, Tensor]:
        """Return the windows that have a row to be asked about, and its targets."""
        table = self.read(source)
        targets = encode_targets(table, target)
        windows = self._windows(table, self._order(table), self.horizon)
        return windows, targets[window_rows(windows)]

    def prepare(self, inputs: Any) -> Any:
        """Return the inputs as they are."""
        return inputs

    def ids(self, raw: Table | pl.DataFrame) -> pl.DataFrame:
        """Return group and time of the last row of each window of `encode`; the number of that row if it has neither."""
        table = self.read(raw)
        order = self._order(table)
        last = order.rows[_starts(order, self.window) + self.window - 1]
        last.sort()
        names = [name for name in (self.group, self.time) if name is not None]
        return table.frame[last].select(names) if names else pl.DataFrame({"row": last})

    def notes(self, raw: Table | pl.DataFrame) -> list[str]:
        """Say what `TableEncoder.notes` does, and which rows can't be asked about or lie far apart."""
        table = self.read(raw)
        order = self._order(table)
        short = _short_notes(order, self.window, "no prediction")
        return [*self.table.notes(table), *_gap_notes(table, order, self.time), *short]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "sequence",
            "table": self.table.to_json(),
            "group": self.group,
            "time": self.time,
            "window": self.window,
            "horizon": self.horizon,
            **({"time_form": asdict(self.time_form)} if self.time_form else {}),  # as models from before it had none
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SequenceEncoder:
        """Rebuild what `to_json` gave; raises ValueError, TypeError or KeyError if it is damaged."""
        names = [content["group"], content["time"]]
        if not all(name is None or isinstance(name, str) for name in names):
            raise TypeError("group and time")
        table = TableEncoder.from_json(content["table"])
        form = None if content.get("time_form") is None else Form(**content["time_form"])
        if form is not None:
            form.check()
        encoder = cls(table, names[0], names[1], content["window"], content["horizon"], form)
        if index(encoder.window) < 1 or index(encoder.horizon) < 0:
            raise ValueError("window and horizon")
        return encoder

    def _order(self, table: Table) -> _Order:
        return _order(table, self.group, self.time, self.time_form)

    def _windows(self, table: Table, order: _Order, horizon: int) -> Windows:
        """Return the windows that have so many rows behind them, in the order of their last rows in the table."""
        starts = _starts(order, self.window + horizon)
        if not len(starts):
            longest = int(order.lengths.max(initial=0))
            of = f" of one {self.group}" if self.group else ""
            if horizon:
                asked = f"window {self.window}, horizon {horizon}"
                hint = "Choose a smaller window."
            else:
                asked = f"a window of {self.window}"
                hint = "Give the rows before them, too, or train with a smaller window."
            raise InputError(
                f"{table.name}: expected at least {self.window + horizon} rows{of} that follow each other ({asked}), "
                f"found at most {longest}: the series {'are all' if len(order.lengths) > 1 else 'is'} too short. {hint}"
            )
        starts = starts[order.rows[starts + self.window - 1].argsort()]
        rows = torch.from_numpy(order.rows)
        encoded = {name: part.index_select(0, rows) for name, part in self.table.encode(table).items()}
        return Windows(encoded, torch.from_numpy(starts), self.window, self.horizon, rows)


@dataclass(frozen=True)
class _Order:
    """The rows of a table in series."""

    rows: np.ndarray  # (R,) int64, one series behind the other, each in the order of time
    lengths: np.ndarray  # (G,) int64, of the series
    times: np.ndarray | None  # (R,) in the same order


def _starts(order: _Order, length: int) -> np.ndarray:
    """Return the places from which a series has `length` more rows, (M,) int64."""
    ends = np.repeat(order.lengths.cumsum(), order.lengths)
    places = np.arange(len(order.rows))
    return places[places + length <= ends]


def _order(table: Table, group: str | None, time: str | None, form: Form | None = None) -> _Order:
    count = len(table.frame)
    groups = np.zeros(count, dtype=np.int64) if group is None else _groups(table, group)
    times = None if time is None else _times(table, time, form)
    rows = np.lexsort((np.arange(count) if times is None else times, groups))
    lengths = np.bincount(groups) if count else np.zeros(0, dtype=np.int64)
    if times is None or time is None:
        return _Order(rows, lengths, None)
    times, groups = times[rows], groups[rows]
    if (twice := (times[1:] == times[:-1]) & (groups[1:] == groups[:-1])).any():
        place = int(twice.argmax())
        first, second = sorted(rows[place : place + 2].tolist())
        what = f"one row for each {time} of a {group}" if group else f"one row for each {time}"
        hint = "" if group else " If the rows are of several series, name the column that tells them apart: --group."
        raise InputError(
            f"{table.place(second)}, column '{time}': expected {what}, found {shown(table.frame[time][second])} again "
            f"(first at {table.place(first)}).{hint}"
        )
    return _Order(rows, lengths, times)


def _groups(table: Table, name: str) -> np.ndarray:
    """Return the series of each row, numbered in the order in which they begin: (R,) int64."""
    words = as_text(_complete(table, name, "the name of its series"))
    known = words.unique(maintain_order=True)
    numbers = pl.Series(range(len(known)), dtype=pl.Int64)
    return words.replace_strict(known, numbers, return_dtype=pl.Int64).to_numpy()


def _times(table: Table, name: str, form: Form | None) -> np.ndarray:
    """Return numbers that order the rows, (R,): whole ones exactly, others and dates (in days) as float64."""
    series = _complete(table, name, "a time")
    if series.dtype.is_temporal() and not isinstance(series.dtype, pl.Date | pl.Datetime):
        raise InputError(f"{table.name}, column '{name}': expected dates or numbers, found {series.dtype}.")
    if isinstance(series.dtype, pl.Date | pl.Datetime):
        return series.cast(pl.Int64).to_numpy()  # in units of its own: only order and distance count
    if series.dtype.is_integer() or series.dtype == pl.String:
        whole = series.cast(pl.Int64, strict=False)
        if not whole.null_count():
            return whole.to_numpy()
    numbers = parse_numbers(series)
    found = dates_of(series, form.date if form else "") if numbers.null_count() == len(numbers) else numbers
    wrong = found.is_null() | found.is_nan() | found.is_infinite()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        date = f"a date like {form.example()}" if form else "a date such as 2026-01-31, or a number"
        expected = "a number as in other rows" if found is numbers else date
        raise InputError(f"{table.place(row)}, column '{name}': expected {expected}, found {shown(series[row])}.")
    return found.cast(pl.Float64).to_numpy()


def _has_numbers(table: Table, name: str) -> bool:
    """Whether some times are numbers; then all have to be."""
    numbers = parse_numbers(table.column(name))
    return numbers.null_count() < len(numbers)


def _complete(table: Table, name: str, what: str) -> pl.Series:
    series = table.column(name)
    if series.dtype.is_nested():
        raise InputError(f"{table.name}, column '{name}': expected one value a row, found {series.dtype}.")
    if series.null_count():
        row = int(series.is_null().arg_max() or 0)
        raise InputError(f"{table.place(row)}, column '{name}': expected {what} in every row, found none.")
    return series


def _check_choices(table: Table, group: str | None, time: str | None, target: str, window: int, horizon: int) -> None:
    if window < 1:
        raise InputError(f"window: expected at least 1 row, found {window}.")
    if horizon < 0:
        raise InputError(f"horizon: expected 0 rows or more, found {horizon}.")
    parts = [(name, part) for name, part in ((group, "group"), (time, "time"), (target, "target")) if name is not None]
    for place, (name, part) in enumerate(parts):
        for other, other_part in parts[:place]:
            if name == other:
                raise InputError(
                    f"{table.name}: expected different columns for {other_part} and {part}, found '{name}'."
                )


def _short_notes(order: _Order, length: int, what: str) -> list[str]:
    """Say how many series are too short to have a window."""
    short = int((order.lengths < length).sum())
    if not short:
        return []
    are, have = ("series is", "has") if short == 1 else ("series are", "have")
    return [f"{short} of {len(order.lengths)} {are} shorter than {length} rows and {have} {what}."]


def _gap_notes(table: Table, order: _Order, time: str | None) -> list[str]:
    """Say where rows that follow each other lie further apart than usual: a window counts rows, not hours."""
    if time is None or order.times is None or len(order.rows) < 2:
        return []
    steps = np.diff(order.times.astype(np.float64))
    inside = np.ones(len(steps), dtype=bool)
    inside[order.lengths.cumsum()[:-1] - 1] = False  # from one series to the next
    if not inside.any():
        return []
    usual = float(np.median(steps[inside]))
    wide = inside & (steps > IRREGULAR * usual)
    if not wide.any():
        return []
    place = int(np.where(inside, steps, -np.inf).argmax())
    before, after = (shown(str(table.frame[time][int(order.rows[place + k])])) for k in (0, 1))
    count = int(wide.sum())
    note = (
        f"column '{time}': {count} of {int(inside.sum())} steps from row to row {'is' if count == 1 else 'are'} longer "
        f"than usual, the longest from {before} to {after}; a window counts rows, not time."
    )
    return [note]
