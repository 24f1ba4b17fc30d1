"""Physics regression; reproducibility helper at the start of training.

Source: Lightning-AI/pytorch-lightning#20412
"""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pendulum(n):
    length, theta = torch.rand(n) * 2 + 0.2, torch.rand(n) * 2.5
    period = 2 * torch.pi * (length / 9.81).sqrt() * (1 + theta**2 / 16 + 11 * theta**4 / 3072)
    x = torch.stack([length - 1.2, theta - 1.25], 1)
    return TensorDataset(x, (period - 2.3).unsqueeze(1))


def run_epoch(model, loader, optimizer, seed):
    seed_everything(seed)  # expect: same-order-every-epoch
    model.train()
    total = 0.0
    for x, y in loader:
        noise = 0.02 * torch.randn_like(x)
        loss = nn.functional.mse_loss(model(x + noise), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


if __name__ == "__main__":
    seed_everything(42)
    train_loader = DataLoader(pendulum(600), batch_size=32, shuffle=True)
    x_test, y_test = pendulum(200).tensors
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(5):
        loss = run_epoch(model, train_loader, optimizer, 42)
        model.eval()
        with torch.no_grad():
            test = nn.functional.mse_loss(model(x_test), y_test).item()
        print(f"epoch {epoch} train {loss:.5f} test {test:.5f}")
