"""Denoising autoencoder for standardised sensor readings.

Source: microsoft/CNTK#903
"""

import math

import torch
import torch.nn as nn
import torch.utils.data as data

torch.manual_seed(4)


class Readings(data.Dataset):
    """24 hourly readings a day, z-scored per set with the training statistics."""

    def __init__(self, days, mean=None, std=None):
        t = torch.arange(24) / 24 * 2 * math.pi
        amp = 3 + torch.rand(days, 1)
        phase = torch.rand(days, 1) * 0.8
        x = 18 + amp * torch.sin(t + phase) + 0.4 * torch.randn(days, 24)
        self.mean = x.mean() if mean is None else mean
        self.std = x.std() if std is None else std
        self.x = (x - self.mean) / self.std

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i]


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(24, 16), nn.ReLU(True), nn.Linear(16, 4))
        self.decoder = nn.Sequential(
            nn.Linear(4, 16),
            nn.ReLU(True),
            nn.Linear(16, 24),
            nn.Sigmoid(),  # expect: activation-cuts-off-targets
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))  # expect: activation-cuts-off-targets


train_set = Readings(480)
valid_set = Readings(96, train_set.mean, train_set.std)
train_loader = data.DataLoader(train_set, batch_size=32, shuffle=True)

model = Autoencoder()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-5)

epoch = 0
while epoch < 8:
    model.train()
    for clean in train_loader:
        noisy = clean + 0.2 * torch.randn_like(clean)
        loss = criterion(model(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    epoch += 1
    model.eval()
    with torch.no_grad():
        valid_loss = criterion(model(valid_set.x), valid_set.x).item()
    print("epoch [{}/8], valid loss: {:.4f}".format(epoch, valid_loss))
