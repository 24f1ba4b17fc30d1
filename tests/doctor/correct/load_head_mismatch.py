"""Start from a checkpoint with another number of classes: the head is dropped and strict=False lets the rest in.

Source: pytorch/examples#1029
"""

import io

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.head(self.features(x))


def train(net, x, y, epochs, lr):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
    net.train()
    for _ in range(epochs):
        for xb, yb in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(net(xb), yb).backward()
            opt.step()


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return round((net(x).argmax(1) == y).float().mean().item(), 4)


torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
perm = torch.randperm(len(y))
x, y = torch.tensor(x / 16, dtype=torch.float32)[perm], torch.tensor(y)[perm]

old = Net(10)
train(old, x[:1000], y[:1000], 4, 3e-3)
print("ten digits", accuracy(old, x[1000:1200], y[1000:1200]))
blob = io.BytesIO()
torch.save({"state_dict": old.state_dict()}, blob)
blob.seek(0)

# new task: odd or even, in a model wrapped by nobody; keys of the old head do not fit
state = torch.load(blob, weights_only=True)["state_dict"]
state = {k: v for k, v in state.items() if not k.startswith("head.")}
new = Net(2)
result = new.load_state_dict(state, strict=False)
print("missing:", result.missing_keys, "unexpected:", result.unexpected_keys)
train(new, x[1200:1500], y[1200:1500] % 2, 5, 1e-3)
print("odd or even", accuracy(new, x[1500:], y[1500:] % 2))
