"""Mixup training of a small conv net: each input is a blend of two, and so is the loss.

Source: facebookresearch/mixup-cifar10
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

np.random.seed(1)
torch.manual_seed(1)
d = load_digits()
perm = np.random.permutation(len(d.images))
images = torch.tensor(d.images[perm] / 16.0, dtype=torch.float32).unsqueeze(1)
targets = torch.tensor(d.target[perm])
trainloader = DataLoader(TensorDataset(images[:1400], targets[:1400]), batch_size=50, shuffle=True)
testloader = DataLoader(TensorDataset(images[1400:], targets[1400:]), batch_size=100)

net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)


def mixup_data(x, y, alpha=0.4):
    lam = np.random.beta(alpha, alpha)
    index = torch.randperm(x.size(0))
    return lam * x + (1 - lam) * x[index], y, y[index], lam


def mixup_criterion(pred, y_a, y_b, lam):
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


for epoch in range(3):
    net.train()
    train_loss, correct, total = 0.0, 0.0, 0
    for inputs, t in trainloader:
        inputs, targets_a, targets_b, lam = mixup_data(inputs, t)
        outputs = net(inputs)
        loss = mixup_criterion(outputs, targets_a, targets_b, lam)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * t.size(0)
        predicted = outputs.argmax(1)
        correct += lam * (predicted == targets_a).sum().item() + (1 - lam) * (predicted == targets_b).sum().item()
        total += t.size(0)
    net.eval()
    with torch.no_grad():
        hits = sum((net(x).argmax(1) == t).sum().item() for x, t in testloader)
    print(
        f"{epoch}: mixed loss {train_loss / total:.3f}, mixed acc {100 * correct / total:.1f}%, test acc {100 * hits / 397:.1f}%"
    )
