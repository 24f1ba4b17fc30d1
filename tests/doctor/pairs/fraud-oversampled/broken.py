"""Rare fraud cases are repeated until the classes are balanced, then a small net is trained.

Source: georgymh/ml-fraud-detection#1
"""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
torch.manual_seed(0)

n = 1500
x = rng.normal(size=(n, 6)).astype(np.float32)
fraud = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.8, n) > 2.6).astype(np.int64)


def oversample(x, y):
    rare = np.flatnonzero(y == 1)
    extra = rng.choice(rare, size=(y == 0).sum() - len(rare))
    idx = rng.permutation(np.concatenate([np.arange(len(y)), extra]))
    return x[idx], y[idx]


x, fraud = oversample(x, fraud)  # expect: train-and-evaluation-overlap
cut = int(0.75 * len(x))
x_train, y_train, x_test, y_test = x[:cut], fraud[:cut], x[cut:], fraud[cut:]

train_set = TensorDataset(torch.from_numpy(x_train), torch.from_numpy(y_train))
test_set = TensorDataset(torch.from_numpy(x_test), torch.from_numpy(y_test))  # expect: train-and-evaluation-overlap
train_dl = DataLoader(train_set, 64, shuffle=True)
test_dl = DataLoader(test_set, 256)  # expect: train-and-evaluation-overlap

net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 2))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
ce = nn.CrossEntropyLoss()

for epoch in range(1, 9):
    net.train()
    for xb, yb in train_dl:
        opt.zero_grad()
        ce(net(xb), yb).backward()
        opt.step()
    net.eval()
    tp = fp = fn = 0
    with torch.no_grad():
        for xb, yb in test_dl:
            hat = net(xb).argmax(1)
            tp += ((hat == 1) & (yb == 1)).sum().item()
            fp += ((hat == 1) & (yb == 0)).sum().item()
            fn += ((hat == 0) & (yb == 1)).sum().item()
    if epoch % 4 == 0:
        print(f"epoch {epoch}: recall {tp / max(tp + fn, 1):.3f}  f1 {2 * tp / max(2 * tp + fp + fn, 1):.3f}")
