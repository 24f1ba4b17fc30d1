"""A classifier wrapped by torch.compile (eager backend), trained and evaluated as usual.

Source: pytorch docs torch.compile tutorial
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(512, 10)
y = (x[:, :5].norm(dim=1) > x[:, 5:].norm(dim=1)).long()
train_dl = DataLoader(TensorDataset(x[:384], y[:384]), batch_size=64, shuffle=True)
test_dl = DataLoader(TensorDataset(x[384:], y[384:]), batch_size=64)

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))
compiled = torch.compile(model, backend="eager")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(5):
    compiled.train()
    for xb, yb in train_dl:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(compiled(xb), yb)
        loss.backward()
        optimizer.step()
    compiled.eval()
    with torch.no_grad():
        hits = sum((compiled(xb).argmax(1) == yb).sum().item() for xb, yb in test_dl)
    print(f"epoch {epoch} loss {loss.item():.4f} acc {hits / 128:.3f}")
