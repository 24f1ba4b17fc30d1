"""WGAN-GP on a line of points, penalty by autograd.grad with create_graph.

Source: eriklindernoren/PyTorch-GAN#21
"""

import torch
import torch.nn as nn

torch.manual_seed(0)
G = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 2))
D = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))
opt_g = torch.optim.Adam(G.parameters(), lr=4e-3, betas=(0.0, 0.9))
opt_d = torch.optim.Adam(D.parameters(), lr=4e-3, betas=(0.0, 0.9))


def real(n):
    t = torch.rand(n, 1) * 2 - 1
    return torch.cat([t, 0.5 * t + 0.05 * torch.randn(n, 1)], 1)


def penalty(a, b):
    mix = torch.rand(len(a), 1)
    point = (mix * a + (1 - mix) * b).requires_grad_(True)
    score = D(point)
    (grad,) = torch.autograd.grad(score, point, grad_outputs=torch.ones_like(score), create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


for it in range(75):
    opt_d.zero_grad()
    x, z = real(64), torch.randn(64, 2)
    fake = G(z)  # left attached; the generator's gradients are cleared before its own step
    d_loss = D(fake).mean() - D(x).mean() + 10 * penalty(x, fake.detach())
    d_loss.backward()
    opt_d.step()
    if it % 3 == 2:
        opt_g.zero_grad()
        g_loss = -D(G(torch.randn(64, 2))).mean()
        g_loss.backward()
        opt_g.step()
    if it % 25 == 24:
        print(f"{it + 1} d {d_loss.item():.4f} g {g_loss.item():.4f}")
with torch.no_grad():
    s = G(torch.randn(500, 2))
    print("distance to line", round((s[:, 1] - 0.5 * s[:, 0]).abs().mean().item(), 4))
