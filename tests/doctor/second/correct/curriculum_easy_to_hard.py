"""Curriculum: examples ordered from easy to hard, the window grows epoch by epoch.

Source: super-gradients#416
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(0)
x = torch.randn(600, 8)
margin = x[:, 0] * 1.5 + x[:, 1] * x[:, 2]
y = (margin > 0).long()
train = TensorDataset(x[:480], y[:480])
difficulty = margin[:480].abs().argsort(descending=True).tolist()

model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 2))
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch, share in enumerate([0.3, 0.5, 0.8, 1.0, 1.0]):
    model.train()
    chosen = difficulty[: int(share * 480)]
    for xb, yb in DataLoader(Subset(train, chosen), batch_size=32, shuffle=False):  # easy first
        loss = nn.functional.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        acc = (model(x[480:]).argmax(1) == y[480:]).float().mean().item()
    print(f"epoch {epoch} examples {len(chosen)} loss {loss.item():.4f} acc {acc:.4f}")
