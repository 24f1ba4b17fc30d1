"""A small GAN on a ring of Gaussians; the discriminator loss runs through the generator's graph.

The generator's gradients of that pass are cleared before its own step: slower, but the same numbers.

Source: heykeetae/Self-Attention-GAN#48
"""

import math

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce


def ring(n):
    which = torch.randint(0, 8, (n,)).float() * (2 * math.pi / 8)
    return torch.stack([which.cos(), which.sin()], dim=1) + 0.05 * torch.randn(n, 2)


class GAN:
    def __init__(self, latent=8):
        self.latent = latent
        self.G = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.D = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )
        self.opt_g = torch.optim.Adam(self.G.parameters(), lr=1e-3, betas=(0.5, 0.9))
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=1e-3, betas=(0.5, 0.9))

    def step(self, real):
        z = torch.randn(len(real), self.latent)
        fake = self.G(z)

        # discriminator; the graph of the generator is needed again below
        self.opt_d.zero_grad()
        real_logit, fake_logit = self.D(real), self.D(fake)
        d_loss = bce(real_logit, torch.ones_like(real_logit)) + bce(fake_logit, torch.zeros_like(fake_logit))
        d_loss.backward(retain_graph=True)
        self.opt_d.step()

        # generator, against the discriminator just updated
        self.opt_g.zero_grad()
        logit = self.D(fake)
        g_loss = bce(logit, torch.ones_like(logit))
        g_loss.backward()
        self.opt_g.step()
        return d_loss.item(), g_loss.item()


torch.manual_seed(7)
gan = GAN()
for it in range(151):
    d, g = gan.step(ring(64))
    if it % 50 == 0:
        with torch.no_grad():
            radius = gan.G(torch.randn(500, gan.latent)).norm(dim=1)
        print(f"{it:4d} d={d:.3f} g={g:.3f} radius {radius.mean():.2f} +- {radius.std():.2f}")
