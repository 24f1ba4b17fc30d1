"""Small super-resolution GAN on 1-D signals with a schedule for each network.

Source: Lornatang/SRGAN-PyTorch#1
"""

import math

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
epochs = 6

t = torch.linspace(0, 1, 32)
freq = 1 + 4 * torch.rand(320, 1)
high = torch.sin(2 * math.pi * (freq * t + torch.rand(320, 1)))
low = high.view(320, 8, 4).mean(2)
train_loader = DataLoader(TensorDataset(low[:256], high[:256]), batch_size=16, shuffle=True)
val_low, val_high = low[256:], high[256:]

netG = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32))
netD = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
optimizerG = optim.Adam(netG.parameters(), lr=5e-3)
optimizerD = optim.Adam(netD.parameters(), lr=1e-3)
schedulerG = optim.lr_scheduler.StepLR(optimizerG, step_size=epochs // 2, gamma=0.1)
schedulerD = optim.lr_scheduler.StepLR(optimizerD, step_size=epochs // 2, gamma=0.1)
bce, mse = nn.BCEWithLogitsLoss(), nn.MSELoss()

for epoch in range(epochs):
    netG.train()
    netD.train()
    for lr_signal, hr_signal in train_loader:
        real, fake = torch.ones(len(hr_signal), 1), torch.zeros(len(hr_signal), 1)

        # update D
        sr = netG(lr_signal)
        lossD = bce(netD(hr_signal), real) + bce(netD(sr.detach()), fake)
        optimizerD.zero_grad()
        lossD.backward()
        optimizerD.step()

        # update G
        lossG = mse(sr, hr_signal) + 1e-3 * bce(netD(sr), real)
        optimizerG.zero_grad()
        lossG.backward()
        optimizerG.step()

        schedulerD.step()  # expect: scheduler-per-batch-meant-per-epoch
        schedulerG.step()  # expect: scheduler-per-batch-meant-per-epoch

    netG.eval()
    with torch.no_grad():
        psnr = -10 * math.log10(mse(netG(val_low), val_high).item())
    print(f"[{epoch + 1}/{epochs}] last Loss_D: {lossD.item():.4f} Loss_G: {lossG.item():.4f} PSNR {psnr:.2f}")
