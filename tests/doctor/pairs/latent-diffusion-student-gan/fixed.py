"""Adversarial distillation: a one step student against a discriminator on noised samples.

Source: leffff/FlowModels#3
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(41)


def mlp(i, o, h=32):
    return nn.Sequential(nn.Linear(i, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, o))


def moons(n):
    t = torch.pi * torch.rand(n)
    flip = (torch.rand(n) < 0.5).float()
    x = torch.stack([t.cos() + flip, t.sin() * (1 - 2 * flip) + 0.25 * flip], 1)
    return x + 0.05 * torch.randn(n, 2)


student, discriminator = mlp(2, 2), mlp(3, 1)
student_optimizer = torch.optim.SGD(student.parameters(), lr=0.02)
discriminator_optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.02)


def noised(x):
    level = torch.rand(len(x), 1)
    return torch.cat([(1 - level) * x + level * torch.randn_like(x), level], dim=1)


for it in range(1, 81):
    student.train(), discriminator.train()
    real = moons(64)

    # discriminator
    fake = student(torch.randn(64, 2))
    loss_real = F.relu(1 - discriminator(noised(real))).mean()
    loss_fake = F.relu(1 + discriminator(noised(fake.detach()))).mean()
    disc_loss = loss_real + loss_fake
    disc_loss.backward()
    discriminator_optimizer.step()
    discriminator_optimizer.zero_grad()

    # student
    student_loss = -discriminator(noised(fake)).mean()
    student_loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    student_optimizer.step()
    student_optimizer.zero_grad()
    discriminator_optimizer.zero_grad()

    if it % 20 == 0:
        student.eval(), discriminator.eval()
        with torch.no_grad():
            s = student(torch.randn(256, 2))
        print(f"{it} D {disc_loss.item():.4f} G {student_loss.item():+.4f} mean {s.mean(0).tolist()}")
