"""Wasserstein GAN with gradient penalty, five critic steps for one generator step.

Source: caogang/wgan-gp
"""

from dataclasses import dataclass

import torch
from torch import autograd, nn, optim


@dataclass
class Config:
    latent: int = 4
    hidden: int = 48
    batch: int = 64
    n_critic: int = 5
    lambda_gp: float = 10.0
    iterations: int = 50
    lr: float = 5e-4


def mlp(n_in, n_out, hidden):
    return nn.Sequential(
        nn.Linear(n_in, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, n_out),
    )


def sample_moons(n):
    t = torch.rand(n) * torch.pi
    upper = torch.rand(n) < 0.5
    x = torch.where(upper, t.cos(), 1 - t.cos())
    y = torch.where(upper, t.sin(), 0.5 - t.sin())
    return torch.stack([x, y], 1) + 0.03 * torch.randn(n, 2)


def gradient_penalty(critic, real, fake):
    eps = torch.rand(real.size(0), 1)
    mixed = (eps * real + (1 - eps) * fake).requires_grad_(True)
    scores = critic(mixed)
    (grad,) = autograd.grad(scores, mixed, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def run(cfg):
    torch.manual_seed(0)
    generator, critic = mlp(cfg.latent, 2, cfg.hidden), mlp(2, 1, cfg.hidden)
    opt_g = optim.Adam(generator.parameters(), lr=cfg.lr, betas=(0.0, 0.9))
    opt_c = optim.Adam(critic.parameters(), lr=cfg.lr, betas=(0.0, 0.9))

    for it in range(cfg.iterations):
        for p in critic.parameters():
            p.requires_grad = True
        for _ in range(cfg.n_critic):
            real = sample_moons(cfg.batch)
            with torch.no_grad():
                fake = generator(torch.randn(cfg.batch, cfg.latent))
            critic.zero_grad()
            wasserstein = critic(real).mean() - critic(fake).mean()
            gp = gradient_penalty(critic, real, fake)
            (-wasserstein + cfg.lambda_gp * gp).backward()
            opt_c.step()

        for p in critic.parameters():
            p.requires_grad = False  # to save computation
        generator.zero_grad()
        loss_g = -critic(generator(torch.randn(cfg.batch, cfg.latent))).mean()
        loss_g.backward()
        opt_g.step()
        if (it + 1) % 10 == 0:
            print(f"iter {it + 1}: W {wasserstein.item():.3f}, penalty {gp.item():.3f}, G {loss_g.item():.3f}")


if __name__ == "__main__":
    run(Config())
