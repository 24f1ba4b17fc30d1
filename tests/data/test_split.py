from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truestep.data import split_rows
from truestep.errors import InputError

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 0)
FRACTIONS = st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)).filter(lambda pair: pair[0] + pair[1] < 0.95)


@settings(deadline=None, max_examples=200)
@given(SIZES, FRACTIONS, st.integers(0, 5))
def test_every_class_is_in_every_split_in_its_share(sizes, fractions, seed):
    classes = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    classes = classes[torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))]
    if any(fractions) and max(sizes) < 3:
        with pytest.raises(InputError, match="too few"):
            split_rows(len(classes), classes, *fractions, seed)
        return
    splits = split_rows(len(classes), classes, *fractions, seed)
    together = torch.cat(splits)
    assert sorted(together.tolist()) == list(range(len(classes)))
    assert all(rows.dtype == torch.int64 and rows.tolist() == sorted(rows.tolist()) for rows in splits)
    for label, size in enumerate(sizes):
        counts = [int((classes[rows] == label).sum()) for rows in splits]
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
def test_without_classes_the_shares_are_exact_to_a_row(num_rows, seed):
    train, valid, test = split_rows(num_rows, None, 0.2, 0.1, seed)
    assert len(valid) == round(num_rows * 0.2)
    assert len(test) == round(num_rows * 0.1)
    assert len(train) + len(valid) + len(test) == num_rows


def test_large_classes_keep_the_total_share():
    classes = torch.repeat_interleave(torch.arange(10), 33)
    _, valid, test = split_rows(330, classes, 0.15, 0.15, 0)
    assert len(valid) == len(test) == round(330 * 0.15)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    classes = torch.arange(100) % 3
    before = torch.get_rng_state()
    first, again, other = (split_rows(100, classes, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


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
        split_rows(100, None, valid, test)


def test_too_few_rows_to_split_are_refused():
    with pytest.raises(InputError, match="4 rows are too few to be split"):
        split_rows(4, torch.tensor([0, 0, 1, 1]))
