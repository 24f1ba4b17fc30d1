"""GAN that learns to draw points from a ring of four Gaussians."""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

latent_dim = 8
num_epochs = 4


def real_points(n):
    angles = torch.randint(4, (n,)).float() * (torch.pi / 2)
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)
    return centres + 0.1 * torch.randn(n, 2)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(latent_dim, 32)
        self.bn1 = nn.BatchNorm1d(32)
        self.fc2 = nn.Linear(32, 32)
        self.bn2 = nn.BatchNorm1d(32)
        self.out = nn.Linear(32, 2)

    def forward(self, z):
        h = torch.relu(self.bn1(self.fc1(z)))
        h = torch.relu(self.bn2(self.fc2(h)))
        return self.out(h)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 32),
            nn.LeakyReLU(0.2),
            nn.Linear(32, 32),
            nn.LeakyReLU(0.2),
            nn.Linear(32, 1),
        )

    def forward(self, x):
        return self.net(x)


loader = DataLoader(TensorDataset(real_points(512)), batch_size=32, shuffle=True)
held_out = real_points(200)

netG = Generator()
netD = Discriminator()
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
fixed_noise = torch.randn(200, latent_dim)

for epoch in range(num_epochs):
    netG.train()
    netD.train()
    sum_d, sum_g, seen = 0.0, 0.0, 0
    for (real,) in loader:
        n = real.size(0)
        real_label = torch.ones(n, 1)
        fake_label = torch.zeros(n, 1)

        # (1) update D: maximise log D(x) + log(1 - D(G(z)))
        optimizerD.zero_grad()
        lossD_real = criterion(netD(real), real_label)
        lossD_real.backward()
        noise = torch.randn(n, latent_dim)
        fake = netG(noise)
        lossD_fake = criterion(netD(fake.detach()), fake_label)
        lossD_fake.backward()
        optimizerD.step()

        # (2) update G: maximise log D(G(z))
        optimizerG.zero_grad()
        lossG = criterion(netD(fake), real_label)
        lossG.backward()
        optimizerG.step()

        sum_d += (lossD_real.item() + lossD_fake.item()) * n
        sum_g += lossG.item() * n
        seen += n

    netG.eval()
    netD.eval()
    with torch.no_grad():
        samples = netG(fixed_noise)
        nearest = torch.cdist(samples, held_out).min(dim=1).values.mean().item()
        score = torch.sigmoid(netD(held_out)).mean().item()
    print(
        f"[{epoch}/{num_epochs}] Loss_D: {sum_d / seen:.5f} Loss_G: {sum_g / seen:.5f} "
        f"distance: {nearest:.5f} D(held out): {score:.5f}"
    )
