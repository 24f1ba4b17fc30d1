"""A small GAN whose generator has an optional relativistic loss, which the plain one then takes the place of.

What the discriminator says for the option is computed and never used: that is waste, and no evaluation.

Source: eriklindernoren/PyTorch-GAN
"""

import torch
from torch import nn

torch.manual_seed(21)
SIZE, RELATIVE = 32, False

generator = nn.Sequential(nn.Linear(4, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 2))
discriminator = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(0.2), nn.Dropout(0.25), nn.Linear(24, 1))
opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
data = torch.randn(256, 2) @ torch.tensor([[1.0, 0.5], [0.0, 0.6]])

for epoch in range(4):
    for real in data[torch.randperm(256)].split(SIZE):
        valid, fake = torch.ones(SIZE, 1), torch.zeros(SIZE, 1)
        made = generator(torch.randn(SIZE, 4))

        opt_g.zero_grad()
        said_real = discriminator(real).detach()
        said_fake = discriminator(made)
        if RELATIVE:
            loss_g = criterion(said_fake - said_real.mean(0, keepdim=True), valid)
        else:
            loss_g = criterion(said_fake - said_real, valid)
        loss_g = criterion(discriminator(made), valid)
        loss_g.backward()
        opt_g.step()

        opt_d.zero_grad()
        said_real = discriminator(real)
        said_fake = discriminator(made.detach())
        loss_d = (criterion(said_real, valid) + criterion(said_fake, fake)) / 2
        loss_d.backward()
        opt_d.step()
    print(f"epoch {epoch} d {loss_d.item():.3f} g {loss_g.item():.3f}")
