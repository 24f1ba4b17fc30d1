"""Batches: every example once, in an order that anyone can compute again."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, TensorDataset

import truestep as ts
from truestep import distributed


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
