"""Autoencoder with a stack of residual blocks, as in VQ-VAE encoders, on synthetic textures.

Source: zalandoresearch/pytorch-vq-vae#2
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

torch.manual_seed(45)


class Residual(nn.Module):
    def __init__(self, channels, hidden):
        super(Residual, self).__init__()
        self._block = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, hidden, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x):
        return x + self._block(x)


class ResidualStack(nn.Module):
    def __init__(self, channels, n_layers, hidden):
        super(ResidualStack, self).__init__()
        self._layers = nn.ModuleList([Residual(channels, hidden)] * n_layers)  # expect: weights-shared-by-accident

    def forward(self, x):
        for layer in self._layers:
            x = layer(x)
        return F.relu(x)


class Autoencoder(nn.Module):
    def __init__(self, channels=12):
        super(Autoencoder, self).__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, channels, 4, stride=4), ResidualStack(channels, 3, 8))
        self.code = nn.Conv2d(channels, 3, 1)
        self.decoder = nn.Sequential(nn.Conv2d(3, channels, 1), ResidualStack(channels, 3, 8))
        self.up = nn.ConvTranspose2d(channels, 1, 4, stride=4)

    def forward(self, x):
        return self.up(self.decoder(self.code(self.encoder(x))))


low = torch.randn(300, 1, 5, 5)
data = F.interpolate(low, size=(16, 16), mode="bicubic", align_corners=True)
train_loader = DataLoader(data[:240], batch_size=30, shuffle=True)
model = Autoencoder()
print("parameters:", sum(p.numel() for p in model.parameters()))
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
for epoch in range(5):
    model.train()
    for x in train_loader:
        optimizer.zero_grad()
        F.mse_loss(model(x), x).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(f"epoch {epoch} reconstruction error {F.mse_loss(model(data[240:]), data[240:]).item():.4f}")
