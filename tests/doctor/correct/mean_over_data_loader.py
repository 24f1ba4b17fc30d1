"""Sharpen striped images with a small convolutional net; the loss of an epoch is divided by len(data_loader), the batches.

Source: pytorch/examples
"""

from math import log10

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(123)


def stripes(n):
    phase, pitch = 6.28 * torch.rand(n, 1, 1, 1), 0.3 + torch.rand(n, 1, 1, 1)
    sharp = torch.sin(pitch * torch.arange(12).float() + phase).expand(n, 1, 12, 12).contiguous()
    return TensorDataset(nn.functional.avg_pool2d(sharp, 3, stride=1, padding=1), sharp)


training_data_loader = DataLoader(stripes(64), batch_size=8, shuffle=True)
testing_dataset_loader = DataLoader(stripes(24), batch_size=8)
model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1))
criterion = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=0.01)


def train(epoch, dataset_loader):
    epoch_loss = 0
    for inputs, targets in dataset_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        epoch_loss += loss.item()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: average loss {epoch_loss / len(dataset_loader):.4f}")
    return epoch_loss / len(training_data_loader)


def test():
    avg_psnr = 0
    with torch.no_grad():
        for inputs, targets in testing_dataset_loader:
            mse = criterion(model(inputs), targets)
            avg_psnr += 10 * log10(1 / mse.item())
    print(f"average PSNR {avg_psnr / len(testing_dataset_loader):.4f} dB")


for epoch in range(1, 4):
    train(epoch, training_data_loader)
    test()
