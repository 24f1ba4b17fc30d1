"""Spectra classification from a cached array, centred per sample on the way out.

Source: facebookresearch/pycls#21
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
rng = np.random.default_rng(0)


class Spectra(Dataset):
    def __init__(self, n):
        self.kind = rng.integers(0, 3, n)
        grid = np.linspace(0, 1, 48)
        peak = 0.25 + 0.25 * self.kind[:, None] + 0.05 * rng.standard_normal((n, 1))
        height = rng.uniform(3, 6, (n, 1))
        self.values = (height * np.exp(-((grid - peak) ** 2) / 0.004) + rng.normal(1, 0.5, (n, 48))).astype(np.float32)

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, i):
        x = torch.from_numpy(self.values[i])
        x = x * 0.5
        x = x - 0.5
        return x, int(self.kind[i])


train, test = Spectra(300), Spectra(120)
train_loader = DataLoader(train, batch_size=30, shuffle=True)
test_loader = DataLoader(test, batch_size=60)
net = nn.Sequential(nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 3))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(6):
    net.train()
    for x, y in train_loader:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader) / len(test)
    print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f}")
