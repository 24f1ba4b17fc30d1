"""Which rows are for training, which for choosing, and which for the last word.

Where nothing else is asked for, a row belongs where its own content says (see `keys.py`): a number u in [0, 1) is made of
its key and the seed; below `test` it is for testing, below `test + valid` for validation, else for training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from truestep import keyed
from truestep.errors import InputError

LEAST_ROWS = 3  # a class with fewer can't be in all three splits: training gets them
STREAM = 0x73706C69  # of keyed random numbers
TRAIN, VALID, TEST = range(3)
NAMES = ("train", "valid", "test")

Splits = tuple[Tensor, Tensor, Tensor]


def check_fractions(valid: float, test: float) -> None:
    """Refuse fractions that are negative or leave nothing to train on."""
    for name, fraction in (("valid", valid), ("test", test)):
        if not 0 <= fraction < 1:
            raise InputError(f"{name}: expected a share of the rows, at least 0 and below 1, found {fraction:g}.")
    if valid + test >= 1:
        raise InputError(f"valid + test: expected less than 1, found {valid + test:g}; nothing is left to train on.")


def split_rows(
    keys: np.ndarray,
    *,
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    classes: Tensor | np.ndarray | None = None,
    stratify: bool = False,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    belongs: Any = None,
    columns: Mapping[str, str | None] | None = None,
    place: Callable[[int], str] = "row {}".format,
) -> Splits:
    """Return the row numbers of train, valid and test, (n,) int64, each in ascending order.

    By rows, the usual way: membership is a function of the seed and the row's key. Rows that are added, removed or put
    in another order move no other row; equal rows are in one split; another share for valid moves no row into test or
    out of it. The price: of n different rows, a share p is met up to chance, with a standard deviation of
    sqrt(n p (1 - p)) rows (for 15 % of 1,000 rows: 150, give or take 11), and so it is in every class. Two exceptions: a
    class without any row in train is moved there, with its equals; and if chance leaves a split empty (as it may with some
    ten rows), the keys nearest to it fill it. Only these can be moved by other rows.

    By groups: the same with the group's key in place of the row's, so that a group is never parted; shares are met up
    to chance, with groups for rows.

    With `stratify`: each class is cut at its share exactly, by largest remainder, in the order of u (without classes:
    all rows). Equal rows stay together, so with duplicates a cut is moved to their nearest end. The price: rows that are
    added or removed may move others across a cut. Groups are cut so too, the shares counted in rows, regardless of classes.

    By time: the latest share of the rows is for testing, the latest of the others for validation, to the nearest cut
    between two times; rows of one time stay together. Nothing in train is later than anything in valid, nor that than test.
    With groups too: groups whole, in the order of their latest times, so a group may begin before another ends.

    As given: `belongs` is followed, whatever else is asked for. A split that it has no row of, is cut out of its training rows
    by the rules above, with its share of them.

    Args:
        keys: (N,) uint64, equal for rows that belong together; see `keys.split_keys`.
        valid: share of the rows, 0 for none.
        test: share of the rows, 0 for none.
        seed: of the draw; it has a random stream of its own.
        classes: (N,) int64, or None if there are none.
        stratify: cut exactly.
        groups: (N,) uint64 keys of the groups' names. Rows without a group, which all have the same key, count as one.
        times: (N,) numbers, NaN where missing.
        belongs: (N,) 0 for train, 1 for valid, 2 for test.
        columns: names of the columns of "groups" and "time", for messages.
        place: tells where a row is, for messages.

    Raises:
        InputError: a share is impossible, there are too few rows, groups or times for it, a time is missing, or nothing
            is given to train on.
    """
    check_fractions(valid, test)
    classes = None if classes is None else np.asarray(classes)
    columns = columns or {}
    if belongs is None:
        where = _drawn(keys, valid, test, seed, classes, groups, times, columns, place, stratify=stratify)
    else:
        where = np.array(belongs, dtype=np.int64)
        if wrong := set(np.unique(where).tolist()) - {TRAIN, VALID, TEST}:
            raise ValueError(f"belongs: expected 0, 1 and 2, found {sorted(wrong)}")
        inside = np.flatnonzero(where == TRAIN)
        if not len(inside):
            raise InputError(
                f"train: expected rows that are given to train on, found only {_given(where)}. Add a part named train."
            )
        valid, test = (0.0 if (where == split).any() else share for split, share in ((VALID, valid), (TEST, test)))
        classes, groups, times = (None if part is None else part[inside] for part in (classes, groups, times))
        where[inside] = _drawn(
            keys[inside],
            valid,
            test,
            seed,
            classes,
            groups,
            times,
            columns,
            lambda row: place(int(inside[row])),
            stratify=stratify,
        )
    train, valid_rows, test_rows = (torch.from_numpy(np.flatnonzero(where == split)) for split in (TRAIN, VALID, TEST))
    return train, valid_rows, test_rows


def _given(where: np.ndarray) -> str:
    found = [f"{(where == split).sum():,} rows for {NAMES[split]}" for split in (VALID, TEST) if (where == split).any()]
    return " and ".join(found) or "none"


def _drawn(
    keys: np.ndarray,
    valid: float,
    test: float,
    seed: int,
    classes: np.ndarray | None,
    groups: np.ndarray | None,
    times: np.ndarray | None,
    columns: Mapping[str, str | None],
    place: Callable[[int], str],
    *,
    stratify: bool,
) -> np.ndarray:
    """Return where each row belongs: (N,) int64."""
    shares = (valid, test)
    if not any(shares):
        return np.full(len(keys), TRAIN)
    if times is not None:
        return _by_time(np.asarray(times, dtype=np.float64), shares, groups, columns.get("time"), place)
    unit = "rows" if groups is None else "groups"
    column = columns.get(unit)
    keys = keys if groups is None else groups
    if stratify:
        where = _exactly(keys, shares, seed, classes if groups is None else None, unit, column)
    else:
        where = _by_chance(keys, shares, seed, unit, column)
    if classes is not None and len(classes):
        counts, trained = np.bincount(classes), np.bincount(classes[where == TRAIN], minlength=int(classes.max()) + 1)
        if lost := np.flatnonzero((counts > 0) & (trained == 0)).tolist():
            where[np.isin(keys, keys[np.isin(classes, lost)])] = TRAIN
    for split, share in zip((VALID, TEST), shares, strict=True):
        if share and not (where == split).any():
            said = f"{unit} in column '{column}'" if column else f"{unit} of each class"
            raise InputError(
                f"{NAMES[split]}: expected at least one row, found none: there are too few {said} to be split. "
                f"Give more data, or {NAMES[split]} no share (--{NAMES[split]} 0)."
            )
    return where


def uniform(keys: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each key, (n,) float64, that depends on it and on the seed alone."""
    return (keyed.bits(seed, 0, keys, STREAM) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _by_chance(keys: np.ndarray, shares: tuple[float, float], seed: int, unit: str, column: str | None) -> np.ndarray:
    valid, test = shares
    u = uniform(keys, seed)
    where = np.where(u < test, TEST, np.where(u < test + valid, VALID, TRAIN))
    wanted = {TRAIN} | {split for split, share in zip((VALID, TEST), shares, strict=True) if share}
    if wanted <= set(np.unique(where).tolist()):
        return where
    points = np.unique(u)
    _check_enough(len(points), wanted, unit, column)
    rest = len(wanted) - 1  # one key at least for each of the others
    num_test = min(max(int((points < test).sum()), 1), len(points) - rest) if test else 0
    num_valid = 0
    if valid:
        num_valid = min(max(int((points < test + valid).sum()) - num_test, 1), len(points) - num_test - 1)
    rank = np.searchsorted(points, u)
    return np.where(rank < num_test, TEST, np.where(rank < num_test + num_valid, VALID, TRAIN))


def _exactly(
    keys: np.ndarray,
    shares: tuple[float, float],
    seed: int,
    classes: np.ndarray | None,
    unit: str,
    column: str | None,
) -> np.ndarray:
    """Cut each class at its shares, in the order of u, between one key and the next."""
    distinct, first, inverse, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    label = np.zeros(len(distinct), np.int64)
    if classes is not None:  # equal rows of different classes count as the first of their classes
        label = classes[first].copy()
        np.minimum.at(label, inverse, classes)
    order = np.lexsort((uniform(distinct, seed), label))
    ends = np.flatnonzero(np.diff(label[order], append=-1)) + 1
    members = np.split(order, ends[:-1])
    members = [part for part in members if len(part) >= LEAST_ROWS or classes is None]
    num_rows = [int(sizes[part].sum()) for part in members]
    if classes is None:
        wanted = {TRAIN} | {split for split, share in zip((VALID, TEST), shares, strict=True) if share}
        _check_enough(len(distinct), wanted, unit, column)
    counts = zip(*(_shares(num_rows, share) for share in shares), strict=True)
    found = np.full(len(distinct), TRAIN)
    for part, wanted_rows in zip(members, counts, strict=True):
        num_valid, num_test = _cuts(sizes[part], *wanted_rows)
        found[part[:num_test]] = TEST
        found[part[num_test : num_test + num_valid]] = VALID
    return found[inverse]


def _by_time(
    times: np.ndarray,
    shares: tuple[float, float],
    groups: np.ndarray | None,
    column: str | None,
    place: Callable[[int], str],
) -> np.ndarray:
    if (missing := np.isnan(times)).any():
        raise InputError(
            f"{place(int(missing.argmax()))}: expected a time in every row, found none here ({missing.sum():,} missing "
            f"of {len(times):,}); before or after the others, nobody knows. Take these rows out."
        )
    if groups is not None:  # a group is as late as its last row
        _, inverse = np.unique(groups, return_inverse=True)
        latest = np.full(int(inverse.max(initial=-1)) + 1, -np.inf)
        np.maximum.at(latest, inverse, times)
        times = latest[inverse]
    moments, inverse, sizes = np.unique(times, return_inverse=True, return_counts=True)
    wanted = {TRAIN} | {split for split, share in zip((VALID, TEST), shares, strict=True) if share}
    _check_enough(len(moments), wanted, "times", column)
    num_valid, num_test = _cuts(sizes[::-1], *(len(times) * share for share in shares))
    age = len(moments) - 1 - inverse  # 0 for the latest
    return np.where(age < num_test, TEST, np.where(age < num_test + num_valid, VALID, TRAIN))


def _cuts(sizes: np.ndarray, valid: float, test: float) -> tuple[int, int]:
    """Return how many units, from the first on, make so many rows of test and then of valid, to the nearest unit.

    Each that is to have rows has a unit at least, as has training.
    """
    ends = np.concatenate([[0], np.cumsum(sizes)])

    def nearest(rows: float) -> int:
        after = int(np.searchsorted(ends, rows))
        return after - 1 if after and (after == len(ends) or rows - ends[after - 1] < ends[after] - rows) else after

    units = len(sizes)
    num_test = min(max(nearest(test), 1), units - 1 - bool(valid)) if test else 0
    num_valid = min(max(nearest(ends[num_test] + valid) - num_test, 1), units - num_test - 1) if valid else 0
    return num_valid, num_test


def _shares(sizes: list[int], fraction: float) -> list[int]:
    """Return how many rows of each class make `fraction` of all: whole rows first, the rest by largest remainder."""
    quotas = [size * fraction for size in sizes]
    counts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda index: counts[index] - quotas[index])
    for index in by_remainder[: round(sum(quotas)) - sum(counts)]:
        counts[index] += 1
    return [max(count, 1) if quota else 0 for count, quota in zip(counts, quotas, strict=True)]


def _check_enough(found: int, wanted: set[int], unit: str, column: str | None) -> None:
    if found >= len(wanted):
        return
    names = " and ".join(", ".join(NAMES[split] for split in sorted(wanted)).rsplit(", ", 1))
    remedy = {
        "rows": "Give more data",
        "groups": "Choose a column with more groups (--group)",
        "times": "Choose a finer column of time (--time)",
    }[unit]
    where = f"column '{column}'" if column else unit
    different = "" if unit == "groups" else "different "
    raise InputError(
        f"{where}: expected at least {len(wanted)} {different}{unit}, one each for {names}, found {found}. "
        f"{remedy}, or leave a split out (--valid 0 or --test 0)."
    )
