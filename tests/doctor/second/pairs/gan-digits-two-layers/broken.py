"""GAN on digit images with a discriminator and a generator of two layers each.

Source: heykeetae/Self-Attention-GAN#48
"""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader

torch.manual_seed(0)
images = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
loader = DataLoader(images[:1600], batch_size=64, shuffle=True)
nz = 12
netG = nn.Sequential(nn.Linear(nz, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh())
netD = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
criterion = nn.BCEWithLogitsLoss()
optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))

for epoch in range(3):
    for real in loader:
        n = real.size(0)
        ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)

        # discriminator
        fake = netG(torch.randn(n, nz))
        errD = criterion(netD(real), ones) + criterion(netD(fake.detach()), zeros)
        errD.backward()  # expect: discriminator-gradients-leak
        optimizerD.step()
        optimizerD.zero_grad()  # expect: discriminator-gradients-leak

        # generator
        optimizerG.zero_grad()
        errG = criterion(netD(fake), ones)
        errG.backward()
        optimizerG.step()
    with torch.no_grad():
        d_real, d_fake = netD(images[1600:]).mean().item(), netD(netG(torch.randn(197, nz))).mean().item()
    print(f"[{epoch}] D {errD.item():.4f} G {errG.item():.4f} D(x) {d_real:.4f} D(G(z)) {d_fake:.4f}")
