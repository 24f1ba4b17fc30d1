"""Fine-tunes a small classifier in bfloat16 with a small learning rate.

Source: workofart/ml-by-hand#85
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def source(n, flip):
    x = torch.randn(n, 20)
    y = (x[:, 0] * (-1 if flip else 1) + x[:, 1] + 0.5 * x[:, 2] > 0).long()
    return TensorDataset(x, y)


def fit(model, data, epochs, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    dtype = next(model.parameters()).dtype
    for epoch in range(epochs):
        total = 0.0
        for x, y in DataLoader(data, batch_size=32, shuffle=True):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x.to(dtype)).float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        print(f"  epoch {epoch} loss {total / len(data):.4f}")


model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))
with torch.no_grad():
    for p in model.parameters():
        p.mul_(3.0)
before = [p.detach().float().clone() for p in model.parameters()]
fit(model, source(800, flip=False), 6, 1e-3)
moved = sum(((p.detach().float() - b) != 0).sum().item() for p, b in zip(model.parameters(), before))
print("weights that moved", moved, "of", sum(b.numel() for b in before))
x, y = source(300, flip=False).tensors
with torch.no_grad():
    out = model(x.to(next(model.parameters()).dtype)).float()
print("test loss", round(nn.functional.cross_entropy(out, y).item(), 4))
