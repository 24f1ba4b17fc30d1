"""Denoising convolutional autoencoder on synthetic stripes.

Source: microsoft/nni#4521
"""

import math

import torch
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(11)


def stripes(n, size=12):
    """images of sine stripes with random direction and phase, in [0, 1]"""
    grid = torch.linspace(0, 2 * math.pi, size)
    angle = torch.rand(n, 1, 1) * math.pi
    phase = torch.rand(n, 1, 1) * 2 * math.pi
    wave = torch.sin(angle.cos() * grid.view(1, -1, 1) * 2 + angle.sin() * grid.view(1, 1, -1) * 2 + phase)
    return (0.5 + 0.5 * wave).unsqueeze(1)


clean = stripes(320)
train_dl = DataLoader(TensorDataset(clean[:256]), batch_size=32, shuffle=True)
valid = clean[256:]
valid_noisy = valid + 0.3 * torch.randn_like(valid)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 2, stride=2),
            nn.GELU(),
            nn.ConvTranspose2d(8, 1, 2, stride=2),
        )

    def forward(self, x):
        return self.dec(self.enc(x))


model = Autoencoder()
# first look at the reconstruction with 16 codes, then grow the code for the real run
print("parameters:", sum(p.numel() for p in model.parameters()))
model.enc[2] = nn.Conv2d(8, 24, 3, stride=2, padding=1)
model.dec[0] = nn.ConvTranspose2d(24, 8, 2, stride=2)
opt = Adam(model.parameters(), lr=3e-3)
print("parameters:", sum(p.numel() for p in model.parameters()))

n_epochs = 5
sched = CosineAnnealingLR(opt, T_max=n_epochs)
for epoch in range(n_epochs):
    model.train()
    epoch_loss = 0.0
    for (x,) in train_dl:
        noisy = x + 0.3 * torch.randn_like(x)
        loss = nn.functional.mse_loss(model(noisy), x)
        opt.zero_grad()
        loss.backward()
        opt.step()
        epoch_loss += loss.item() * x.size(0)
    sched.step()
    model.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(model(valid_noisy), valid).item()
    print(f"{epoch:>3} train {epoch_loss / 256:.5f} val {val:.5f}")
