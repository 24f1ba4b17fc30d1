"""Sanity check before the real run: the model must be able to memorise one batch.

Source: victoresque/pytorch-template#69
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
d = load_digits()
x, y = torch.tensor(d.images).float().unsqueeze(1) / 16, torch.tensor(d.target)
shuffled = torch.randperm(len(x))
x, y = x[shuffled], y[shuffled]
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200)


def make_model():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, 10))


# --- 1. can it fit one batch? the same 32 images, again and again
model = make_model()
opt = torch.optim.Adam(model.parameters(), lr=0.01)
xb, yb = x[:32], y[:32]
for step in range(40):
    loss = nn.functional.cross_entropy(model(xb), yb)
    opt.zero_grad()
    loss.backward()
    opt.step()
with torch.no_grad():
    print("one batch: loss", round(loss.item(), 4), "acc", (model(xb).argmax(1) == yb).float().mean().item())

# --- 2. the real run, from fresh weights
model = make_model()
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(2):
    model.train()
    for xb, yb in train_loader:
        loss = nn.functional.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        good = sum((model(a).argmax(1) == b).sum().item() for a, b in test_loader)
    print("epoch", epoch, "test acc", round(good / 397, 4))
