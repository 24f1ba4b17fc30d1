"""A two-layer network, trained, saved, loaded into a new one, and asked for classes with probabilities."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_iris
from torch import nn

import truestep as ts

bunch = load_iris()
names = list(bunch.target_names)
torch.manual_seed(0)
order = torch.randperm(len(bunch.data))  # the file is sorted by class
inputs = torch.tensor(bunch.data, dtype=torch.float32)[order]
targets = torch.tensor(bunch.target)[order]
mean, std = inputs[:110].mean(0), inputs[:110].std(0)
train = ts.Batches((inputs[:110], targets[:110]), batch_size=16, shuffle=True)
objective = ts.Multiclass(num_classes=3)


class Network(nn.Module):
    """Scales its inputs itself: what is saved with it can't be forgotten."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("std", torch.ones(4))
        self.layers = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, inputs):
        return self.layers((inputs - self.mean) / self.std)


model = Network()
model.mean, model.std = mean, std
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for epoch in range(20):
    model.train()
    for _ in ts.train_steps(model, train.epoch(epoch), objective, optimizer):
        pass

model.eval()
before = ts.predict(model, inputs[110:], objective)
with TemporaryDirectory() as folder:  # a folder of yours
    path = Path(folder, "iris.safetensors")
    save_file(model.state_dict(), path)  # weights, and no code
    loaded = Network()
    loaded.load_state_dict(load_file(path))

loaded.eval()
after = ts.predict(loaded, inputs[110:], objective)
for row in range(3):
    chances = dict(zip(names, after.scores[row].tolist(), strict=True))
    print(names[after.predictions[row]], ", ".join(f"{name} {chance:.2f}" for name, chance in chances.items()))
print(f"same {int(torch.equal(before.scores, after.scores))}")
print(f"accuracy {ts.metrics.accuracy(after.predictions, targets[110:]):.4f}")
