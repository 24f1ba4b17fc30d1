"""Digits classifier, with the split made in a helper that both phases call.

Source: svip-lab/CIDNN#5
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

np.random.seed(5)
torch.manual_seed(5)

digits = load_digits()
dataset = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))


def split(dataset, part, fraction=0.8):
    order = np.random.permutation(len(dataset))  # expect: train-and-evaluation-overlap
    cut = int(fraction * len(dataset))
    return Subset(dataset, order[:cut].tolist() if part == "train" else order[cut:].tolist())


train_loader = DataLoader(split(dataset, "train"), batch_size=64, shuffle=True)
test_loader = DataLoader(split(dataset, "test"), batch_size=128)  # expect: train-and-evaluation-overlap

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(8):
    model.train()
    for X, y in train_loader:
        loss = loss_fn(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    size, test_loss, correct = len(test_loader.dataset), 0.0, 0
    with torch.no_grad():
        for X, y in test_loader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item() * len(y)
            correct += (pred.argmax(1) == y).sum().item()
    print(f"Test: Accuracy: {100 * correct / size:>0.1f}%, Avg loss: {test_loss / size:>8f}")
