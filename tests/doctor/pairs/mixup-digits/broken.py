"""Mixup training of a digits classifier with batches from NumPy.

Source: xudonmao/VMT#1
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

rng = np.random.default_rng(0)
torch.manual_seed(0)

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
order = rng.permutation(len(X))
X, y = X[order], y[order]
x_train, y_train, x_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]


def mixup(x, y, alpha=0.3):
    lam = float(rng.beta(alpha, alpha))
    x_mix = lam * x + (1 - lam) * x[torch.randperm(len(x))]  # expect: inputs-and-targets-misaligned
    y_mix = lam * y + (1 - lam) * y[torch.randperm(len(y))]  # expect: inputs-and-targets-misaligned
    return x_mix, y_mix


net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(5):
    net.train()
    total = 0.0
    for idx in np.array_split(rng.permutation(1400), 28):
        x = torch.from_numpy(x_train[idx])
        one_hot = F.one_hot(torch.from_numpy(y_train[idx]), 10).float()
        x_mix, y_mix = mixup(x, one_hot)
        loss = F.cross_entropy(net(x_mix), y_mix)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(idx)
    net.eval()
    with torch.no_grad():
        out = net(torch.from_numpy(x_test))
    test_loss = F.cross_entropy(out, torch.from_numpy(y_test)).item()
    acc = (out.argmax(1).numpy() == y_test).mean()
    print(f"epoch {epoch}: train {total / 1400:.4f} test {test_loss:.4f} acc {acc:.4f}")
