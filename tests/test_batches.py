"""Batches: every example once, in an order that anyone can compute again."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import truestep as ts
from truestep import distributed
from truestep.batches import StreamedBatches


class Squares(Dataset):
    def __len__(self):
        return 23

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index**2


@given(size=st.integers(1, 60), batch_size=st.integers(1, 70), shuffle=st.booleans(), epoch=st.integers(0, 5))
def test_an_epoch_has_every_example_once_in_batches_of_the_size(size, batch_size, shuffle, epoch):
    batches = ts.Batches((torch.arange(size), torch.arange(size) * 2), batch_size, shuffle=shuffle, seed=4)
    got = list(batches.epoch(epoch))
    inputs = torch.cat([inputs for inputs, _ in got])

    assert len(got) == len(batches)
    assert all(len(inputs) == batch_size for inputs, _ in got[:-1])
    assert sorted(inputs.tolist()) == list(range(size))
    assert all(torch.equal(inputs * 2, targets) for inputs, targets in got)
    if not shuffle:
        assert inputs.tolist() == list(range(size))


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    data = torch.arange(50)
    a, b = ts.Batches(data, 8, shuffle=True, seed=1), ts.Batches(data, 8, shuffle=True, seed=1)
    torch.rand(10)
    assert torch.equal(torch.cat(list(a.epoch(3))), torch.cat(list(b.epoch(3))))
    assert not torch.equal(a.order(0), a.order(1))
    assert not torch.equal(a.order(0), ts.Batches(data, 8, shuffle=True, seed=2).order(0))
    assert torch.equal(torch.cat(list(a.epoch(3, start=2))), torch.cat(list(a.epoch(3))[2:]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_is_read_in_the_same_order_without_touching_the_global_generator(num_workers):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    batches = ts.Batches(Squares(), 5, shuffle=True, seed=1, num_workers=num_workers)
    got = list(batches.epoch(2))

    assert torch.equal(torch.rand(3), expected)
    assert torch.cat([inputs.flatten().long() for inputs, _ in got]).tolist() == batches.order(2).tolist()
    assert all(torch.equal(inputs.flatten().long() ** 2, targets) for inputs, targets in got)


def test_nests_keep_their_shape():
    nest = {"a": torch.arange(6), "b": (torch.arange(6) * 2, [torch.arange(6) * 3])}
    first = next(iter(ts.Batches((nest, torch.arange(6)), 2)))
    assert first[0]["a"].tolist() == [0, 1]
    assert first[0]["b"][0].tolist() == [0, 2]
    assert first[0]["b"][1][0].tolist() == [0, 3]
    assert isinstance(ts.Batches(TensorDataset(torch.arange(6)), 2).data, tuple)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_each_batch_and_miss_nothing(world, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(list(ts.Batches(torch.arange(22), 7, shuffle=True, seed=1).epoch()))
    whole = list(ts.Batches(torch.arange(22), 7, shuffle=True, seed=1).indices())

    assert len({len(share) for share in shares}) == 1
    for parts, batch in zip(zip(*shares, strict=True), whole, strict=True):
        assert sorted(torch.cat(parts).tolist()) == sorted(batch.tolist())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ts.Batches((torch.zeros(3), torch.zeros(4)), 2), "the same number of rows, found 3, 4"),
        (lambda: ts.Batches(torch.zeros(0), 2), "at least one example, found none"),
        (lambda: ts.Batches(torch.zeros(3), 0), "batch_size: expected at least 1, found 0"),
        (lambda: ts.Batches("abc", 2), "found no tensor"),
    ],
)
def test_data_that_cannot_be_cut_is_refused(make, said):
    with pytest.raises(ts.InputError) as caught:
        make()
    assert said in str(caught.value)


# ruff: noqa: NPY002 - the global generator is what people's transforms draw from
class Random(Dataset):
    """Draws from all three global generators, as people's transforms do."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        return torch.stack([torch.tensor(float(index)), torch.rand(()), torch.tensor(np.random.rand()).float(),
                            torch.tensor(random.random())])  # fmt: skip


def test_what_an_example_draws_is_a_function_of_seed_epoch_and_example_whoever_reads_it():
    def read(num_workers=0, epoch=1, seed=3, batch_size=4, **choices):
        batches = ts.Batches(Random(), batch_size, seed=seed, num_workers=num_workers, **choices)
        rows = torch.cat(list(batches.epoch(epoch)))
        return rows[rows[:, 0].argsort()]

    random.seed(0)
    expected = read()
    assert expected[:, 1:].unique().numel() == 90
    random.random()
    for other in (read(num_workers=2), read(num_workers=3, shuffle=True), read(batch_size=7)):
        assert torch.equal(other, expected)
    assert not torch.equal(read(epoch=2), expected)
    assert not torch.equal(read(seed=4), expected)


def test_reading_a_dataset_leaves_every_global_generator_alone():
    def state():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    before = state()
    list(ts.Batches(Random(), 4).epoch())
    assert state() == before


def test_rows_choose_the_examples_and_names_name_them():
    batches = ts.Batches(torch.arange(10) * 10, 2, rows=torch.tensor([1, 4, 7]), names=torch.arange(10) + 100)
    assert torch.cat(list(batches)).tolist() == [10, 40, 70]
    assert batches.name(0, 0, 2) == "101, 104, 107"
    assert len(batches) == 2


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=200), shuffle=st.booleans())
def test_batches_by_length_hold_every_example_once_and_waste_little(sizes, shuffle):
    lengths = torch.tensor(sizes)
    batches = ts.Batches(torch.arange(len(sizes)), 4, shuffle=shuffle, lengths=lengths)
    got = list(batches.epoch(1))
    assert sorted(torch.cat(got).tolist()) == list(range(len(sizes)))
    assert len(got) == len(batches)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in got)
    by_hand = lengths.sort().values.split(4)
    assert padded == sum(int(part.max()) * len(part) for part in by_hand)  # no more than sorting all of them wastes


def test_batches_by_length_mix_anew_each_epoch_and_can_be_begun_in_the_middle():
    lengths = torch.arange(600) % 40
    batches = ts.Batches(torch.arange(600), 4, shuffle=True, lengths=lengths)
    first, second = list(batches.epoch(0)), list(batches.epoch(1))
    assert {tuple(sorted(batch.tolist())) for batch in first} != {tuple(sorted(batch.tolist())) for batch in second}
    assert [int(lengths[batch].max()) for batch in first] != sorted(int(lengths[batch].max()) for batch in first)
    assert all(torch.equal(a, b) for a, b in zip(first[50:], batches.epoch(0, start=50), strict=True))


def test_weights_draw_examples_in_their_proportion():
    weights = torch.tensor([1.0, 3.0, 0.0, 4.0]).repeat(500)
    batches = ts.Batches(torch.arange(2000) % 4, 50, shuffle=True, weights=weights)
    counts = torch.cat(list(batches.epoch(0))).bincount(minlength=4) / 2000
    assert counts.tolist() == pytest.approx([1 / 8, 3 / 8, 0, 4 / 8], abs=0.04)
    assert torch.equal(torch.cat(list(batches.epoch(5))), torch.cat(list(batches.epoch(5))))


class Texts:
    """Lists of tokens, padded when a batch is made of them."""

    def __len__(self):
        return 9

    def batch_of(self, indices):
        return torch.nn.utils.rnn.pad_sequence([torch.full((i + 1,), i) for i in indices.tolist()], batch_first=True)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_store_makes_its_own_batches(num_workers):
    batches = ts.Batches((Texts(), torch.arange(9)), 4, num_workers=num_workers)
    got = list(batches)
    assert [inputs.shape for inputs, _ in got] == [(4, 4), (4, 8), (1, 9)]
    assert torch.equal(got[1][0], Texts().batch_of(torch.arange(4, 8)))
    assert torch.cat([targets for _, targets in got]).tolist() == list(range(9))


def test_a_transform_knows_where_in_the_run_it_is():
    seen = []

    def transform(batch, keys):
        seen.append((keys.seed, keys.epoch, keys.indices.tolist()))
        return batch * 2

    batches = ts.Batches(torch.arange(5), 2, shuffle=True, seed=7, transform=transform)
    got = torch.cat(list(batches.epoch(3, start=1)))
    assert torch.equal(got, batches.order(3)[2:] * 2)
    assert seen == [(7, 3, part.tolist()) for part in batches.order(3)[2:].split(2)]


class Passes(IterableDataset):
    """Twenty examples with noise; it is told the epoch."""

    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        for number in range(20):
            yield torch.tensor([number + 100.0 * self.epoch, float(torch.rand(()))])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_stream_is_read_in_its_own_order_and_can_be_begun_in_the_middle(num_workers):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    batches = StreamedBatches(Passes(), 8, seed=1, num_workers=num_workers)
    first, second = list(batches.epoch(0)), list(batches.epoch(1))

    assert torch.equal(torch.rand(3), expected)
    assert [len(batch) for batch in first] == [8, 8, 4]
    assert torch.cat(second)[:, 0].tolist() == [100.0 + number for number in range(20)]
    assert not torch.equal(torch.cat(first)[:, 1], torch.cat(second)[:, 1])
    again = list(StreamedBatches(Passes(), 8, seed=1, num_workers=1 - num_workers).epoch(1, start=1))
    assert all(torch.equal(a, b) for a, b in zip(again, second[1:], strict=True))
