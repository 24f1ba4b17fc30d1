"""Two-spirals classification with a small MLP and momentum.

Source: pytorch/examples#736
"""

import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def spirals(n):
    t = torch.rand(n) * 3 + 0.5
    k = torch.randint(0, 2, (n,))
    angle = t * 1.6 + math.pi * k
    x = torch.stack([t * angle.cos(), t * angle.sin()], 1) / 2 + 0.05 * torch.randn(n, 2)
    return TensorDataset(x, k)


model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=8.0, momentum=0.9)  # expect: learning-rate-too-high
loader = DataLoader(spirals(640), batch_size=32, shuffle=True)
tx, ty = spirals(200).tensors
for epoch in range(6):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    model.eval()
    with torch.no_grad():
        acc = (model(tx).argmax(1) == ty).float().mean().item()
    print(f"epoch {epoch} loss {total / 640:.4f} acc {acc:.4f}")
