"""Digits MLP with a seed helper, for a report that must be reproducible.

Source: Lightning-AI/pytorch-lightning#20412
"""

import random

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def set_seed(seed=42):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def train_epoch(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for x, y in loader:
        x = x + 0.05 * torch.randn_like(x)  # small jitter as regularisation
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * x.size(0)
    return total / len(loader.dataset)


def evaluate(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main():
    set_seed()
    X, y = load_digits(return_X_y=True)
    order = np.random.permutation(len(X))
    X, y = torch.tensor(X[order] / 16.0, dtype=torch.float32), torch.tensor(y[order])
    loader = DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size=70, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(6):
        loss = train_epoch(model, loader, optimizer, criterion)
        print(f"epoch {epoch}: loss {loss:.4f} test acc {evaluate(model, X[1400:], y[1400:]):.4f}")


main()
