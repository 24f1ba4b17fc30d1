"""GAN on 8x8 digits, losses and updates in one step method of a class.

Source: Adversarial-Deep-Learning/code-soup#69
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

torch.manual_seed(36)


class GAN:
    def __init__(self, latent_dims=12, image_size=64, lr=1e-3):
        self.latent_dims = latent_dims
        self.generator = nn.Sequential(
            nn.Linear(latent_dims, 48), nn.LeakyReLU(0.2), nn.Linear(48, image_size), nn.Tanh()
        )
        self.discriminator = nn.Sequential(nn.Linear(image_size, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
        self.optimizerG = torch.optim.Adam(self.generator.parameters(), lr=lr, betas=(0.5, 0.999))
        self.optimizerD = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.999))
        self.criterion = nn.BCEWithLogitsLoss()

    def step(self, real):
        n = real.size(0)
        ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)

        # discriminator: real, then fake
        self.discriminator.zero_grad()
        errD_real = self.criterion(self.discriminator(real), ones)
        errD_real.backward()
        fake = self.generator(torch.randn(n, self.latent_dims))
        errD_fake = self.criterion(self.discriminator(fake.detach()), zeros)
        errD_fake.backward()
        self.optimizerD.step()

        # generator: the fakes shall be taken for real
        self.generator.zero_grad()
        errG = self.criterion(self.discriminator(fake), ones)
        errG.backward()
        self.optimizerG.step()
        return (errD_real + errD_fake).item(), errG.item()


images = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
loader = DataLoader(images, batch_size=128, shuffle=True, drop_last=True)
gan = GAN()
for epoch in range(5):
    lossD, lossG = 0.0, 0.0
    for batch in loader:
        d, g = gan.step(batch)
        lossD, lossG = lossD + d / len(loader), lossG + g / len(loader)
    print(f"epoch {epoch}: D {lossD:.4f} G {lossG:.4f}")
