"""Low rank adapters on a frozen backbone; only the trainable parameters are collected.

Source: PixArt-alpha/PixArt-alpha#160
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(8)


class LoRALinear(nn.Module):
    def __init__(self, base, rank=2, alpha=4.0):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.randn(rank, base.in_features) * 0.1)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.A.t() @ self.B.t())


def make_data(n, shift):
    x = torch.randn(n, 16)
    y = torch.sin(x[:, 0] + shift) + x[:, 1] * x[:, 2] + shift * x[:, 3]
    return x, y.unsqueeze(1)


backbone = nn.Sequential(nn.Linear(16, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))

# stage 1: "pretraining"
opt = torch.optim.Adam(backbone.parameters(), lr=5e-3)
x, y = make_data(512, 0.0)
for _ in range(3):
    for idx in torch.randperm(512).split(64):
        opt.zero_grad()
        F.mse_loss(backbone(x[idx]), y[idx]).backward()
        opt.step()

# stage 2: adapters on the shifted task
for p in backbone.parameters():
    p.requires_grad_(False)
for i in (0, 2, 4):
    backbone[i] = LoRALinear(backbone[i])

trainable = filter(lambda p: p.requires_grad, backbone.parameters())  # expect: gradients-clipped-of-nothing
optimizer = torch.optim.SGD(trainable, lr=0.1)
max_grad_norm = 0.5

x, y = make_data(512, 1.5)
xv, yv = make_data(256, 1.5)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
for epoch in range(3):
    backbone.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(backbone(xb), yb)
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, max_grad_norm)  # expect: gradients-clipped-of-nothing
        optimizer.step()
    backbone.eval()
    with torch.no_grad():
        print(f"epoch {epoch}: val mse {F.mse_loss(backbone(xv), yv).item():.4f}")
