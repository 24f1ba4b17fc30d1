from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from truestep.data import load
from truestep.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(5, 3, (80, 4))
Y = RNG.integers(0, 3, 80)


class Pairs(Dataset):
    """Examples made when they are asked for."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        return self.inputs[row], self.targets[row]


def test_vectors_are_scaled_feature_by_feature_on_training_rows():
    data = load((X, Y))
    train = X[data.train.rows.numpy()]
    expected = (X - train.mean(0)) / train.std(0)
    assert data.encoder.spec == {"kind": "vector", "num_features": 4}
    assert np.allclose(data.test.inputs, expected[data.test.rows.numpy()], atol=1e-6)
    parts = [(X[rows], Y[rows]) for rows in (split.rows.numpy() for split in data.splits.values())]
    given = load(tuple(parts)).encoder
    assert given == load((parts[0], parts[1], (parts[2][0] * 0, parts[2][1]))).encoder
    assert given != load(((parts[0][0] + 1, parts[0][1]), *parts[1:])).encoder  # the comparison can fail


def test_arrays_and_tensors_are_the_same():
    array, tensor = load((X, Y)), load([torch.tensor(X), torch.tensor(Y)])
    dataset = load(TensorDataset(torch.tensor(X), torch.tensor(Y)[:, None]))
    assert torch.equal(array.train.inputs, tensor.train.inputs)
    assert torch.equal(array.train.inputs, dataset.train.inputs)
    assert torch.equal(array.train.targets, dataset.train.targets)


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((3, 8, 6), {"kind": "image", "channels": 3, "height": 8, "width": 6}),
        ((8, 6), {"kind": "array", "shape": [8, 6]}),
        ((7, 8, 6), {"kind": "array", "shape": [7, 8, 6]}),
    ],
)
def test_more_dimensions_stay_and_floats_in_them_are_taken_as_they_are(shape, spec):
    inputs = RNG.normal(3, 2, (40, *shape))
    data = load((inputs, Y[:40]))
    assert data.encoder.spec == spec
    assert np.array_equal(data.train.inputs, inputs[data.train.rows.numpy()].astype(np.float32))


def test_bytes_are_scaled_by_one_mean_and_deviation():
    inputs = RNG.integers(0, 256, (40, 1, 5, 5)).astype(np.uint8)
    data = load((torch.tensor(inputs), Y[:40]))
    train = inputs[data.train.rows.numpy()].astype(np.float64)
    assert np.allclose(data.train.inputs, (train - train.mean()) / train.std(), atol=1e-6)


def test_another_shape_than_in_training_is_refused():
    encoder = load((X, Y)).encoder
    with pytest.raises(InputError, match=r"inputs: expected shape \(N, 4\) as in training, found \(80, 3\)"):
        encoder.encode(X[:, :3])
    with pytest.raises(InputError, match=r"inputs, row 2, place \(1,\): expected a finite number, found inf"):
        encoder.encode(np.where(X[2, 1] == X, np.inf, X))


def test_a_dataset_is_split_and_read_when_needed():
    inputs = torch.tensor(X, dtype=torch.float32)
    data = load(Pairs(inputs, Y.tolist()))
    assert len(data.train) == len(data.train.targets)
    for split in data.splits.values():
        for place, row in enumerate(split.rows.tolist()):
            example, target = split.examples[row]
            assert torch.equal(example, inputs[row])
            assert target == split.targets[place]
    assert data.encoder.spec == {"kind": "vector", "num_features": 4}
    assert torch.cat([split.rows for split in data.splits.values()]).sort().values.tolist() == list(range(len(X)))


def test_a_dataset_of_floats_is_regression():
    data = load(Pairs(torch.ones(20, 3) * torch.arange(20)[:, None], [float(row % 3) for row in range(20)]))
    assert data.target.task == "regression"
    assert data.train.targets.dtype == torch.float32


def test_a_dataset_can_be_predicted_and_evaluated():
    inputs = torch.tensor(X, dtype=torch.float32)
    data = load(Pairs(inputs, Y.tolist()))
    assert torch.equal(data.encoder.encode(data.encoder.read(Pairs(inputs, Y))), inputs)
    assert torch.equal(data.encoder.encode(data.encoder.read(TensorDataset(inputs))), inputs)
    encoded, targets = data.encoder.encode_labelled(Pairs(inputs, Y.tolist()), data.target)
    assert torch.equal(encoded, inputs)
    assert targets.tolist() == Y.tolist()
    _, targets = data.encoder.encode_labelled((X, Y), data.target)
    assert targets.tolist() == Y.tolist()
    assert data.encoder.ids(inputs) is None
