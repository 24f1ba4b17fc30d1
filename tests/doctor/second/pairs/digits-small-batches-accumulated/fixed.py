"""Digits with small batches, four of them make an update.

Source: hirofumi0810/neural_sp#168
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
d = load_digits()
p = torch.randperm(len(d.target))
X, Y = torch.tensor(d.data).float()[p] / 16, torch.tensor(d.target)[p]
loader = DataLoader(TensorDataset(X[:1280], Y[:1280]), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
ACCUM = 4
for epoch in range(3):
    model.train()
    optimizer.zero_grad()
    for step, (x, y) in enumerate(loader, start=1):
        loss = nn.functional.cross_entropy(model(x), y)
        (loss / ACCUM).backward()
        if step % ACCUM == 0:
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        acc = (model(X[1280:]).argmax(1) == Y[1280:]).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f}")
