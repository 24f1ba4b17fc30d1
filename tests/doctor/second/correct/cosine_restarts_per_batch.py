"""Cosine warm restarts stepped every batch with fractional epochs.

Source: Auto-PyTorch#210
"""

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.rand(640, 2) * 4 - 2
y = torch.sin(x[:, :1] * 2) * x[:, 1:]
loader = DataLoader(TensorDataset(x[:512], y[:512]), batch_size=32, shuffle=True)
net = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.02)
sched = CosineAnnealingWarmRestarts(opt, T_0=1, T_mult=2)
iters = len(loader)
for epoch in range(7):
    lrs = []
    for i, (xb, yb) in enumerate(loader):
        loss = nn.functional.mse_loss(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step(epoch + (i + 1) / iters)
        lrs.append(opt.param_groups[0]["lr"])
    print(f"epoch {epoch} loss {loss.item():.4f} lr from {max(lrs):.5f} to {min(lrs):.5f}")
with torch.no_grad():
    print("test", round(nn.functional.mse_loss(net(x[512:]), y[512:]).item(), 4))
