"""Condition a frozen denoiser through a trainable copy joined by zero-initialised convolutions.

Source: lllyasviel/ControlNet docs/faq.md
"""

import copy

import torch
import torch.nn as nn


def zero_module(module):
    for p in module.parameters():
        p.detach().zero_()
    return module


class Denoiser(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.mid = nn.Sequential(nn.SiLU(), nn.Conv2d(ch, ch, 3, padding=1), nn.SiLU())
        self.out = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x, control=None):
        h = self.mid(self.inp(x))
        if control is not None:
            h = h + control
        return self.out(h)


class ControlBranch(nn.Module):
    def __init__(self, base, ch=12):
        super().__init__()
        self.hint = nn.Sequential(nn.Conv2d(1, ch, 3, padding=1), nn.SiLU(), zero_module(nn.Conv2d(ch, ch, 1)))
        self.inp, self.mid = copy.deepcopy(base.inp), copy.deepcopy(base.mid)
        self.zero_out = zero_module(nn.Conv2d(ch, ch, 1))

    def forward(self, x, hint):
        return self.zero_out(self.mid(self.inp(x) + self.hint(hint)))


def squares(n):
    """Images of a square and its outline as the hint."""
    img, edge = torch.zeros(n, 1, 10, 10), torch.zeros(n, 1, 10, 10)
    for i in range(n):
        a, b, s = *torch.randint(0, 5, (2,)).tolist(), int(torch.randint(3, 6, (1,)))
        img[i, 0, a : a + s, b : b + s] = 1
        edge[i, 0, a : a + s, b : b + s] = 1
        edge[i, 0, a + 1 : a + s - 1, b + 1 : b + s - 1] = 0
    return img, edge


torch.manual_seed(4)
base = Denoiser()
opt = torch.optim.Adam(base.parameters(), lr=5e-3)
for step in range(25):
    img, _ = squares(24)
    noise = torch.randn_like(img)
    loss = (base(img + noise) - noise).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
print("base loss", round(loss.item(), 4))

base.requires_grad_(False)
branch = ControlBranch(base)
branch.requires_grad_(True)
opt = torch.optim.AdamW(branch.parameters(), lr=5e-3)
for step in range(1, 41):
    img, hint = squares(24)
    noise = torch.randn_like(img)
    noisy = img + noise
    loss = (base(noisy, branch(noisy, hint)) - noise).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print("step", step, "controlled loss", round(loss.item(), 4))
