"""Energy-based model: negatives by Langevin dynamics with the net in eval mode and its parameters held fixed.

Source: openai/ebm_code_release, UvA deep learning tutorials
"""

import random

import torch
from torch import nn


def target(n):
    centre = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])[torch.randint(0, 2, (n,))]
    return centre + 0.25 * torch.randn(n, 2)


def langevin(model, x, steps=12, step_size=0.1):
    was_training = model.training
    model.eval()
    for p in model.parameters():
        p.requires_grad = False
    x = x.clone().requires_grad_(True)
    for _ in range(steps):
        energy = model(x).sum()
        energy.backward()
        with torch.no_grad():
            x -= step_size * x.grad.clamp(-1, 1)
            x += 0.05 * torch.randn_like(x)
        x.grad.zero_()
    for p in model.parameters():
        p.requires_grad = True
    model.train(was_training)
    return x.detach()


random.seed(0)
torch.manual_seed(0)
energy = nn.Sequential(nn.Linear(2, 48), nn.SiLU(), nn.Dropout(0.05), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
optimizer = torch.optim.Adam(energy.parameters(), lr=5e-3, betas=(0.0, 0.999))
buffer = [torch.rand(1, 2) * 4 - 2 for _ in range(128)]
for step in range(1, 61):
    energy.train()
    start = torch.cat(
        [random.choice(buffer) if random.random() < 0.95 else torch.rand(1, 2) * 4 - 2 for _ in range(64)]
    )
    fake = langevin(energy, start)
    buffer = list(fake.split(1)) + buffer[:64]
    real = target(64)
    e_real, e_fake = energy(torch.cat([real, fake])).chunk(2)
    loss = (e_real - e_fake).mean() + 0.1 * (e_real**2 + e_fake**2).mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(energy.parameters(), 0.5)
    optimizer.step()
    if step % 15 == 0:
        energy.eval()
        with torch.no_grad():
            gap = energy(torch.rand(200, 2) * 4 - 2).mean() - energy(target(200)).mean()
        print(
            f"step {step}: contrastive divergence {(e_real - e_fake).mean().item():+.4f}, energy of noise above data {gap.item():+.4f}"
        )
