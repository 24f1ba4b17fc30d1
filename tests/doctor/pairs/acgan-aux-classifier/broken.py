"""Auxiliary-classifier GAN on a ring of Gaussians, one class per mode.

Source: clvrai/ACGAN-PyTorch#4
"""

import math

import torch
import torch.nn as nn
import torch.optim as optim

torch.manual_seed(2)
n_class, nz, batch = 4, 6, 64


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(n_class, nz)
        self.main = nn.Sequential(nn.Linear(2 * nz, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, z, c):
        return self.main(torch.cat([z, self.emb(c)], 1))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2))
        self.fc_dis = nn.Linear(32, 1)
        self.fc_aux = nn.Linear(32, n_class)
        self.sigmoid = nn.Sigmoid()
        # class scores for the auxiliary loss
        self.softmax = nn.Softmax(dim=1)  # expect: probabilities-expected

    def forward(self, x):
        h = self.features(x)
        return self.sigmoid(self.fc_dis(h)).view(-1), self.softmax(self.fc_aux(h))


def real_batch():
    c = torch.randint(n_class, (batch,))
    angle = 2 * math.pi * c / n_class
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(batch, 2), c


netG, netD = Generator(), Discriminator()
dis_criterion = nn.BCELoss()
aux_criterion = nn.NLLLoss()
optD = optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optG = optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
ones, zeros = torch.full((batch,), 1.0), torch.zeros(batch)

for step in range(1, 151):
    # train D on real and on fake
    optD.zero_grad()
    x, c = real_batch()
    dis, aux = netD(x)
    errD_real = dis_criterion(dis, ones) + aux_criterion(aux, c)  # expect: probabilities-expected
    errD_real.backward()

    fc = torch.randint(n_class, (batch,))
    fake = netG(torch.randn(batch, nz), fc)
    dis, aux = netD(fake.detach())
    errD_fake = dis_criterion(dis, zeros) + aux_criterion(aux, fc)  # expect: probabilities-expected
    errD_fake.backward()
    optD.step()

    # train G
    optG.zero_grad()
    dis, aux = netD(fake)
    errG = dis_criterion(dis, ones) + aux_criterion(aux, fc)  # expect: probabilities-expected
    errG.backward()
    optG.step()

    if step % 50 == 0:
        print(f"[{step}/150] Loss_D: {(errD_real + errD_fake).item():.4f} Loss_G: {errG.item():.4f}")
