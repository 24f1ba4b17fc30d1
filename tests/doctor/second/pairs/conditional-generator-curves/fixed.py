"""Conditional GAN for noisy curves: given a frequency, draw a curve.

Source: nikhilsinghmus/image2reverb#37
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
POINTS = 24
grid = torch.linspace(0, 1, POINTS)


def curves(n):
    f = torch.rand(n, 1) * 2 + 1
    return f - 2, 0.8 * torch.sin(2 * math.pi * f * grid) + 0.04 * torch.randn(n, POINTS)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1 + 4, 48), nn.ReLU(), nn.Linear(48, POINTS), nn.Tanh())

    def forward(self, cond, z):
        return self.net(torch.cat([cond, z], 1))


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1 + POINTS, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))

    def forward(self, cond, curve):
        return self.net(torch.cat([cond, curve], 1))


G, D = Generator(), Critic()
opt_G, opt_D = torch.optim.Adam(G.parameters(), 3e-3), torch.optim.Adam(D.parameters(), 1e-3)
for it in range(120):
    cond, real = curves(64)
    fake = G(cond, torch.randn(64, 4))
    # least squares GAN
    loss_D = (D(cond, real) - 1).pow(2).mean() + D(cond, fake.detach()).pow(2).mean()
    opt_D.zero_grad()
    loss_D.backward()
    opt_D.step()
    loss_G = (D(cond, fake) - 1).pow(2).mean()
    opt_G.zero_grad()
    loss_G.backward()
    opt_G.step()
    if it % 40 == 39:
        with torch.no_grad():
            c, r = curves(200)
            error = F.mse_loss(G(c, torch.randn(200, 4)), r).item()
        print(f"{it + 1} D {loss_D.item():.4f} G {loss_G.item():.4f} distance {error:.4f}")
