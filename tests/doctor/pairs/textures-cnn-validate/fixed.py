"""Texture classification with a small convolutional network, validation after every epoch.

Source: wolny/pytorch-3dunet#53
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def textures(n, size=12):
    labels = torch.randint(0, 3, (n,))
    x = torch.randn(n, 1, size, size)
    smooth = F.avg_pool2d(x, 3, stride=1, padding=1) * 2.5
    lines = x.mean(dim=3, keepdim=True).expand_as(x) * 2.5
    pick = labels.view(-1, 1, 1, 1)
    return torch.where(pick == 0, x, torch.where(pick == 1, smooth, lines)) + 0.5 * torch.randn_like(x), labels


model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Dropout(0.4),
    nn.Linear(16, 3),
)
optimizer = optim.Adam(model.parameters(), lr=1e-2)
trainloader = DataLoader(TensorDataset(*textures(320)), batch_size=32, shuffle=True)
valloader = DataLoader(TensorDataset(*textures(150)), batch_size=30)

for epoch in range(4):
    model.train()
    for images, labels in trainloader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    val_loss, correct = 0.0, 0
    model.eval()
    with torch.no_grad():
        for images, labels in valloader:
            outputs = model(images)
            val_loss += F.cross_entropy(outputs, labels, reduction="sum").item()
            correct += (outputs.argmax(1) == labels).sum().item()
    print(f"Epoch {epoch + 1} val loss {val_loss / 150:.4f} val acc {correct / 150:.3f}")
