"""InfoGAN on points of a ring: a third optimizer trains generator and discriminator for the code that was drawn.

Points to look at are drawn with the batch's own statistics, as the generator is trained.

Source: eriklindernoren/PyTorch-GAN
"""

import itertools

import torch
from torch import nn

torch.manual_seed(12)
CODES, NOISE, SIZE = 4, 6, 32


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(NOISE + CODES, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, noise, code):
        return self.layers(torch.cat([noise, code], 1))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Dropout(0.2))
        self.real, self.code = nn.Linear(32, 1), nn.Linear(32, CODES)

    def forward(self, points):
        features = self.body(points)
        return self.real(features), self.code(features)


def ring(n):
    angle = torch.randint(CODES, (n,)) * (2 * torch.pi / CODES)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


generator, discriminator = Generator(), Discriminator()
opt_g = torch.optim.Adam(generator.parameters(), lr=2e-3)
opt_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3)
opt_info = torch.optim.Adam(itertools.chain(generator.parameters(), discriminator.parameters()), lr=1e-3)
adversarial, which = nn.MSELoss(), nn.CrossEntropyLoss()
still = torch.randn(SIZE, NOISE)


def fakes():
    kinds = torch.randint(CODES, (SIZE,))
    return generator(torch.randn(SIZE, NOISE), nn.functional.one_hot(kinds, CODES).float()), kinds


def show(step):
    shown = torch.eye(CODES).repeat_interleave(SIZE // CODES, 0)
    points = generator(still, shown)
    print(f"step {step} centres", points.data.view(CODES, -1, 2).mean(1).flatten().round(decimals=2).tolist())


for step in range(30):
    points, _ = fakes()
    loss_g = adversarial(discriminator(points)[0], torch.ones(SIZE, 1))
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()

    real, fake = discriminator(ring(SIZE))[0], discriminator(points.detach())[0]
    loss_d = (adversarial(real, torch.ones(SIZE, 1)) + adversarial(fake, torch.zeros(SIZE, 1))) / 2
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()

    points, kinds = fakes()
    loss_info = which(discriminator(points)[1], kinds)
    opt_info.zero_grad()
    loss_info.backward()
    opt_info.step()
    if step % 10 == 0:
        print(f"step {step} d {loss_d.item():.3f} g {loss_g.item():.3f} code {loss_info.item():.3f}")
        show(step)
