"""Gradient accumulation with the right share for the shorter last window.

Source: agokrani/distillKitPlus#5
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(450, 9)
y = x @ torch.randn(9) + 0.1 * torch.randn(450)
loader = DataLoader(TensorDataset(x[:370], y[:370]), batch_size=24, shuffle=True)
net = nn.Sequential(nn.Linear(9, 24), nn.ReLU(), nn.Linear(24, 1))
opt = torch.optim.AdamW(net.parameters(), lr=0.02)
K = 3
for epoch in range(8):
    window = []
    for i, batch in enumerate(loader):
        window.append(batch)
        if len(window) < K and i + 1 < len(loader):
            continue
        n = sum(len(b) for _, b in window)
        opt.zero_grad()
        for xb, yb in window:
            (nn.functional.mse_loss(net(xb).squeeze(1), yb, reduction="sum") / n).backward()
        opt.step()
        window = []
    with torch.no_grad():
        print(epoch, round(nn.functional.mse_loss(net(x[370:]).squeeze(1), y[370:]).item(), 4))
