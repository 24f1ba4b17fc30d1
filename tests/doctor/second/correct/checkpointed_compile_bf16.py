"""Activation checkpointing, torch.compile with the eager backend and bfloat16 autocast together.

Source: victorchall/EveryDream2trainer#172
"""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(0)


class Deep(nn.Module):
    def __init__(self, d=24):
        super().__init__()
        self.inp = nn.Linear(6, d)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU()) for _ in range(3))
        self.out = torch.compile(nn.Linear(d, 3), backend="eager")

    def forward(self, x):
        x = self.inp(x)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return self.out(x)


x = torch.randn(512, 6)
y = x[:, :3].argmax(1)
net = Deep()
opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
for epoch in range(3):
    for idx in torch.randperm(384).split(32):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = net(x[idx])
        loss = nn.functional.cross_entropy(out.float(), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 3))
with torch.no_grad():
    print("accuracy", (net(x[384:]).argmax(1) == y[384:]).float().mean().item())
