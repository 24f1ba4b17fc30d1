"""Residual blocks whose last layer starts at zero, so that the net starts as the identity.

Source: yzd-v/FGD#45
"""

import torch
from torch import nn

torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Denoiser(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.inp = nn.Linear(3, d)
        self.blocks = nn.Sequential(*[Block(d) for _ in range(3)])
        self.out = nn.Linear(d, 2)
        nn.init.zeros_(self.out.weight)

    def forward(self, x, t):
        return self.out(self.blocks(self.inp(torch.cat([x, t], 1))))


def moons(n):
    a = torch.rand(n) * torch.pi
    flip = (torch.rand(n) < 0.5).float() * 2 - 1
    return torch.stack([a.cos() * flip + 0.5 * (1 - flip) * 0.5, a.sin() * flip], 1)


net = Denoiser()
opt = torch.optim.AdamW(net.parameters(), lr=4e-3)
for it in range(100):
    x0, eps, t = moons(128), torch.randn(128, 2), torch.rand(128, 1)
    xt = (1 - t).sqrt() * x0 + t.sqrt() * eps
    loss = ((net(xt, t) - eps) ** 2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 25 == 0:
        print(it, round(loss.item(), 4))
with torch.no_grad():
    x0, eps, t = moons(500), torch.randn(500, 2), torch.full((500, 1), 0.8)
    print("held-out", round((((net((1 - t).sqrt() * x0 + t.sqrt() * eps, t)) - eps) ** 2).mean().item(), 4))
