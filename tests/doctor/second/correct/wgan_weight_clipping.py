"""Wasserstein GAN on a ring of Gaussians, critic weights clipped after every step.

Source: znxlwm/pytorch-generative-model-collections#31
"""

import math

import torch
import torch.nn as nn

torch.manual_seed(1)


def real_batch(n):
    angle = torch.randint(0, 6, (n,)) * (2 * math.pi / 6)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


G = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
C = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
opt_G = torch.optim.RMSprop(G.parameters(), lr=1e-3)
opt_C = torch.optim.RMSprop(C.parameters(), lr=1e-3)

for it in range(40):
    for _ in range(4):
        fake = G(torch.randn(64, 4)).detach()
        loss_C = -C(real_batch(64)).mean() + C(fake).mean()
        opt_C.zero_grad()
        loss_C.backward()
        opt_C.step()
        for p in C.parameters():
            p.data.clamp_(-0.05, 0.05)
    # the critic's gradients of this pass are thrown away at its next zero_grad
    loss_G = -C(G(torch.randn(64, 4))).mean()
    opt_G.zero_grad()
    loss_G.backward()
    opt_G.step()
    if it % 10 == 9:
        print(f"{it + 1} critic {loss_C.item():.5f} generator {loss_G.item():.5f}")
