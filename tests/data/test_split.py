from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from truestep.data.split import split_rows, uniform
from truestep.errors import InputError
from truestep.keyed import mixed

FRACTIONS = st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)).filter(lambda pair: pair[0] + pair[1] < 0.95)
USUAL = st.tuples(st.sampled_from([0, 0.1, 0.15, 0.3]), st.sampled_from([0, 0.1, 0.15, 0.3]))
SEEDS = st.integers(0, 2**31 - 1)
FROZEN = [0.3696837770647483, 0.767992647218507]


def keys_of(values) -> np.ndarray:
    return mixed(np.asarray(values).astype(np.uint64))


def membership(splits) -> np.ndarray:
    """0, 1 or 2 for each row, after checking that every row is in one split, in ascending order."""
    assert all(rows.dtype == torch.int64 and rows.tolist() == sorted(rows.tolist()) for rows in splits)
    assert sorted(torch.cat(splits).tolist()) == list(range(sum(map(len, splits))))
    where = np.zeros(sum(map(len, splits)), np.int64)
    where[splits[1].numpy()], where[splits[2].numpy()] = 1, 2
    return where


# By rows


@settings(deadline=None, max_examples=100)
@given(st.integers(60, 400), USUAL, SEEDS, st.randoms(use_true_random=False))
def test_rows_that_come_go_or_change_places_move_no_other(count, shares, seed, random):
    keys = keys_of(np.arange(count))
    assume(not shares[0] or not shares[1] or count >= 100)
    first = membership(split_rows(keys, valid=shares[0], test=shares[1], seed=seed))
    for split, share in ((1, shares[0]), (2, shares[1])):  # a split filled by hand is another matter; see below
        assume(not share or (first == split).sum() > 1)
    order = random.sample(range(count), count)
    shuffled = membership(split_rows(keys[order], valid=shares[0], test=shares[1], seed=seed))
    assert np.array_equal(shuffled, first[order])
    more = np.insert(keys, sorted(random.sample(range(count), 20)), keys_of(np.arange(1000, 1020)))
    kept = membership(split_rows(more, valid=shares[0], test=shares[1], seed=seed))[np.isin(more, keys)]
    assert np.array_equal(kept, first)


@settings(deadline=None, max_examples=100)
@given(st.integers(1000, 5000), USUAL, SEEDS)
def test_shares_are_met_within_five_standard_deviations(count, shares, seed):
    where = membership(split_rows(keys_of(np.arange(count)), valid=shares[0], test=shares[1], seed=seed))
    for split, share in ((1, shares[0]), (2, shares[1])):
        assert abs((where == split).sum() - count * share) <= 5 * np.sqrt(count * share * (1 - share))


def test_membership_follows_the_number_made_of_key_and_seed():
    keys = keys_of(np.arange(2000))
    u = uniform(keys, 7)
    expected = np.where(u < 0.2, 2, np.where(u < 0.3, 1, 0))
    assert np.array_equal(membership(split_rows(keys, valid=0.1, test=0.2, seed=7)), expected)
    assert abs(u.mean() - 0.5) < 0.03
    assert 0 <= u.min() < u.max() < 1
    assert uniform(keys_of([0, 1]), 7).tolist() == FROZEN  # or the splits of every recipe would change


def test_another_share_for_valid_moves_no_row_into_test_or_out_of_it():
    keys = keys_of(np.arange(500))
    tests = {tuple(split_rows(keys, valid=valid, test=0.2, seed=1)[2].tolist()) for valid in (0, 0.1, 0.5)}
    assert len(tests) == 1


@settings(deadline=None, max_examples=100)
@given(st.integers(12, 80), SEEDS, st.booleans())
def test_equal_rows_are_in_one_split(distinct, seed, stratify):
    rng = np.random.default_rng(seed)
    keys = keys_of(np.concatenate([np.arange(distinct), rng.integers(0, distinct, 200)]))
    classes = rng.integers(0, 2, len(keys))  # equal rows may be of different classes
    where = membership(split_rows(keys, valid=0.3, test=0.3, seed=seed, classes=classes, stratify=stratify))
    for key in np.unique(keys):
        assert len(set(where[keys == key])) == 1


def test_seeds_differ_and_the_global_generators_are_left_alone():
    keys = keys_of(np.arange(100))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (split_rows(keys, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_class_without_a_training_row_goes_to_train_with_its_equals():
    keys = keys_of(np.arange(1000))
    plain = membership(split_rows(keys, seed=0))
    rare = np.flatnonzero(plain == 2)[:2]
    classes = np.zeros(1000, np.int64)
    classes[rare] = 1
    moved = membership(split_rows(keys, seed=0, classes=torch.from_numpy(classes)))
    assert moved[rare].tolist() == [0, 0]
    assert np.array_equal(np.delete(moved, rare), np.delete(plain, rare))
    twin = np.append(keys, keys[rare[0]])  # equal to a rare row, but of the common class
    moved = membership(split_rows(twin, seed=0, classes=np.append(classes, 0)))
    assert moved[-1] == moved[rare[0]] == 0


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 12), FRACTIONS, SEEDS)
def test_a_few_rows_fill_every_split_or_are_refused(count, shares, seed):
    wanted = 1 + sum(share > 0 for share in shares)
    split = lambda: split_rows(keys_of(np.arange(count)), valid=shares[0], test=shares[1], seed=seed)  # noqa: E731
    if count < wanted:
        with pytest.raises(
            InputError, match=f"rows: expected at least {wanted} different rows, one each for train.*found {count}"
        ):
            split()
        return
    sizes = [len(rows) for rows in split()]
    assert sizes[0] >= 1
    assert [size > 0 for size in sizes[1:]] == [share > 0 for share in shares]


def test_copies_are_no_rows_to_split():
    with pytest.raises(
        InputError,
        match=r"rows: expected at least 3 different rows, one each for train, valid and test, found 2. Give more data",
    ):
        split_rows(keys_of([1, 2] * 50))


@pytest.mark.parametrize(
    ("valid", "test", "words"),
    [
        (-0.1, 0.1, "valid: expected a share of the rows, at least 0 and below 1, found -0.1"),
        (0.1, 15, "test: expected a share of the rows, at least 0 and below 1, found 15"),
        (float("nan"), 0.1, "valid: .* found nan"),
        (0.5, 0.5, r"valid \+ test: expected less than 1, found 1; nothing is left"),
    ],
)
def test_impossible_shares_are_refused(valid, test, words):
    with pytest.raises(InputError, match=words):
        split_rows(keys_of(np.arange(100)), valid=valid, test=test)


# Stratified

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 0)


@settings(deadline=None, max_examples=200)
@given(SIZES, FRACTIONS, st.integers(0, 5))
def test_stratified_every_class_is_in_every_split_in_its_share(sizes, fractions, seed):
    classes = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    classes = classes[torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))]
    keys = keys_of(np.arange(len(classes)))
    split = lambda: split_rows(keys, valid=fractions[0], test=fractions[1], seed=seed, classes=classes, stratify=True)  # noqa: E731
    if any(fractions) and max(sizes) < 3:
        with pytest.raises(InputError, match="too few"):
            split()
        return
    where = membership(split())
    for label, size in enumerate(sizes):
        counts = np.bincount(where[classes.numpy() == label], minlength=3).tolist()
        if size < 3:
            assert counts == [size, 0, 0]
            continue
        assert counts[0] >= 1
        for count, fraction in zip(counts[1:], fractions, strict=True):
            assert count >= 1 if fraction else count == 0
            if size * (1 - sum(fractions)) >= 2:  # else training's one row is taken from a share
                assert abs(count - size * fraction) <= 1


@settings(deadline=None, max_examples=50)
@given(st.integers(10, 200), st.integers(0, 3))
def test_stratified_without_classes_the_shares_are_exact_to_a_row(num_rows, seed):
    splits = split_rows(keys_of(np.arange(num_rows)), valid=0.2, test=0.1, seed=seed, stratify=True)
    where = membership(splits)
    assert (where == 1).sum() == round(num_rows * 0.2)
    assert (where == 2).sum() == round(num_rows * 0.1)


def test_stratified_large_classes_keep_the_total_share():
    classes = np.repeat(np.arange(10), 33)
    _, valid, test = split_rows(keys_of(np.arange(330)), seed=0, classes=classes, stratify=True)
    assert len(valid) == len(test) == round(330 * 0.15)


def test_stratified_rows_in_another_order_stay_where_they_are():
    keys = keys_of(np.arange(300) // 2)
    classes = np.random.default_rng(1).integers(0, 3, 300)  # of equal rows, too
    order = np.random.default_rng(0).permutation(300)
    where = membership(split_rows(keys, seed=0, classes=classes, stratify=True))
    assert np.array_equal(
        membership(split_rows(keys[order], seed=0, classes=classes[order], stratify=True)), where[order]
    )


# By groups


@settings(deadline=None, max_examples=100)
@given(st.integers(3, 40), SEEDS, st.booleans())
def test_groups_are_whole(num_groups, seed, stratify):
    names = np.concatenate([np.arange(num_groups), np.random.default_rng(seed).integers(0, num_groups, 200)])
    groups, keys = keys_of(names), keys_of(np.arange(len(names)) + 10_000)
    where = membership(
        split_rows(keys, seed=seed, groups=groups, classes=names % 2, stratify=stratify)
        if num_groups > 8
        else split_rows(keys, seed=seed, groups=groups, stratify=stratify)
    )
    assert set(where) == {0, 1, 2}
    for name in range(num_groups):
        assert len(set(where[names == name])) == 1


def test_new_groups_move_no_other():
    names = np.arange(1000) % 50
    where = membership(split_rows(names, groups=keys_of(names), seed=0))
    more = np.concatenate([names, np.arange(50, 80)])
    assert np.array_equal(membership(split_rows(more, groups=keys_of(more), seed=0))[:1000], where)


@pytest.mark.parametrize("stratify", [False, True])
def test_too_few_groups_are_refused(stratify):
    groups = keys_of([1, 2] * 20)
    with pytest.raises(
        InputError,
        match=r"groups: expected at least 3 groups, one each for train, valid and test, found 2. Choose a column with more groups \(--group\), or leave a split out",
    ):
        split_rows(keys_of(np.arange(40)), groups=groups, stratify=stratify)
    with pytest.raises(InputError, match=r"^column 'who': expected at least 3 groups"):
        split_rows(keys_of(np.arange(40)), groups=groups, stratify=stratify, columns={"groups": "who"})
    assert [len(rows) for rows in split_rows(keys_of(np.arange(40)), groups=groups, valid=0)] == [20, 0, 20]


def test_stratified_groups_meet_the_shares_to_half_a_group():
    names = np.arange(1000) // 10
    _, valid, test = split_rows(keys_of(np.arange(1000)), groups=keys_of(names), valid=0.2, test=0.15, stratify=True)
    assert (len(valid), len(test)) == (200, 150)


# By time


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=20, max_size=200).filter(lambda times: len(set(times)) > 4), USUAL)
def test_nothing_in_train_is_later_than_what_it_is_measured_by(times, shares):
    times = np.array(times, np.float64)
    where = membership(split_rows(keys_of(np.arange(len(times))), valid=shares[0], test=shares[1], times=times))
    present = [split for split in range(3) if (where == split).any()]
    assert present == [0] + [split for split, share in ((1, shares[0]), (2, shares[1])) if share]
    for before, after in pairwise(present):
        assert times[where == before].max() < times[where == after].min()


@pytest.mark.parametrize("shares", [(0.15, 0.15), (0.2, 0), (0, 0.3)])
def test_distinct_times_meet_the_shares_exactly(shares):
    times = np.random.default_rng(0).permutation(200).astype(np.float64)
    where = membership(split_rows(keys_of(np.arange(200)), valid=shares[0], test=shares[1], times=times))
    assert [(where == split).sum() for split in (1, 2)] == [round(200 * share) for share in shares]


def test_rows_of_one_time_stay_together_to_the_nearest_cut():
    times = np.repeat([2019.0, 2020, 2021, 2022], [60, 25, 4, 11])
    where = membership(split_rows(keys_of(np.arange(100)), valid=0.1, test=0.12, times=times))
    assert [sorted(set(times[where == split])) for split in range(3)] == [[2019, 2020], [2021], [2022]]


def test_whole_groups_follow_their_latest_time():
    rng = np.random.default_rng(0)
    names, times = np.arange(400) % 40, rng.normal(size=400)
    where = membership(split_rows(keys_of(np.arange(400)), groups=keys_of(names), times=times))
    assert all(len(set(where[names == name])) == 1 for name in range(40))
    latest = {
        split: [times[names == name].max() for name in range(40) if where[names == name][0] == split]
        for split in range(3)
    }
    assert max(latest[0]) < min(latest[1])
    assert max(latest[1]) < min(latest[2])
    assert max(times[where == 0]) < max(times[where == 2]) == times.max()


def test_a_missing_time_is_refused_with_its_place():
    times = np.arange(20.0)
    times[[4, 7]] = np.nan
    with pytest.raises(
        InputError, match=r"sales.csv, line 6: expected a time in every row, found none here \(2 missing of 20\)"
    ):
        split_rows(keys_of(np.arange(20)), times=times, place=lambda row: f"sales.csv, line {row + 2}")


def test_too_few_times_are_refused():
    with pytest.raises(
        InputError, match=r"times: expected at least 3 different times, .* found 2. Choose a finer column"
    ):
        split_rows(keys_of(np.arange(20)), times=np.arange(20.0) % 2)


# As given


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2), min_size=3, max_size=100).filter(lambda given: set(given) == {0, 1, 2}))
def test_what_is_given_is_respected(belongs):
    where = membership(
        split_rows(keys_of(np.zeros(len(belongs))), belongs=belongs, times=np.full(len(belongs), np.nan))
    )
    assert where.tolist() == belongs


def test_a_split_that_is_not_given_is_cut_out_of_the_given_training_rows():
    keys, belongs = keys_of(np.arange(1000)), np.repeat([0, 2], [800, 200])
    where = membership(split_rows(keys, valid=0.2, test=0.7, seed=3, belongs=belongs))
    assert np.array_equal(where == 2, belongs == 2)
    alone = membership(split_rows(keys[:800], valid=0.2, test=0, seed=3))
    assert np.array_equal(where[:800], alone)
    assert 100 < (where == 1).sum() < 220
    assert membership(split_rows(keys, valid=0, test=0.1, belongs=belongs)).tolist() == belongs.tolist()
    only_train = split_rows(keys, seed=3, belongs=np.zeros(1000))
    assert all(map(torch.equal, only_train, split_rows(keys, seed=3)))


def test_groups_and_times_hold_inside_the_given_training_rows():
    belongs = np.tile([0, 0, 0, 2], 50)
    times = np.arange(200.0)
    where = membership(split_rows(keys_of(np.arange(200)), belongs=belongs, times=times))
    assert times[where == 0].max() < times[where == 1].min()
    times[1] = np.nan
    with pytest.raises(InputError, match="row 1: expected a time"):
        split_rows(keys_of(np.arange(200)), belongs=belongs, times=times)


def test_given_rows_without_any_to_train_on_are_refused():
    with pytest.raises(
        InputError,
        match="train: expected rows that are given to train on, found only 2 rows for valid and 3 rows for test",
    ):
        split_rows(keys_of(np.arange(5)), belongs=[1, 1, 2, 2, 2])


def test_five_million_rows_take_seconds():
    import time

    keys = keys_of(np.arange(5_000_000))
    start = time.process_time()
    split_rows(keys, classes=np.arange(5_000_000) % 10)
    assert time.process_time() - start < 20
