"""Classify spectra kept in memory; every item is standardised when it is read.

Source: pytorch/vision#680
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Spectra(Dataset):
    def __init__(self, n, seed, mean=None, std=None):
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, 3, n)
        grid = np.linspace(0, 1, 40)
        peak = 0.3 + 0.2 * self.y[:, None] + rng.normal(0, 0.05, (n, 1))
        self.x = (5 + 2 * np.exp(-(((grid - peak) / 0.08) ** 2)) + rng.normal(0, 0.6, (n, 40))).astype(np.float32)
        self.mean = self.x.mean() if mean is None else mean
        self.std = self.x.std() if std is None else std

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        x = (x - self.mean) / self.std
        return torch.from_numpy(x), int(self.y[i])


torch.manual_seed(0)
train = Spectra(400, 0)
test = Spectra(120, 1, train.mean, train.std)
train_loader = DataLoader(train, batch_size=40, shuffle=True)
test_loader = DataLoader(test, batch_size=120)

net = nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
ce = nn.CrossEntropyLoss()
for epoch in range(6):
    net.train()
    for x, y in train_loader:
        opt.zero_grad()
        loss = ce(net(x), y)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = [(net(x).argmax(1) == y).float().mean().item() for x, y in test_loader][0]
    print(f"epoch {epoch}: last loss {loss.item():.4f} test {acc:.3f}")
