"""Classifier on 8-bit digit images; scaling happens in the training loop.

Source: pytorch-nested-unet#62
"""

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
d = load_digits()
images = torch.tensor(d.images * 255 / 16).round().to(torch.uint8).unsqueeze(1)
labels = torch.tensor(d.target)
perm = torch.randperm(len(images))
images, labels = images[perm], labels[perm]
train_loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_size=50, shuffle=True)
test_loader = DataLoader(TensorDataset(images[1400:], labels[1400:]), batch_size=100)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(128, 48), nn.Tanh(), nn.Linear(48, 10))

    def forward(self, x):
        return self.fc(self.conv(x))


def train(model, optimizer, criterion):
    model.train()
    running = 0.0
    for x, y in train_loader:
        x = x.float().div(255)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item() * y.size(0)
    return running / 1400


def test(model, criterion):
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for x, y in test_loader:
            x = x.float().div(255)
            out = model(x)
            loss += criterion(out, y).item() * y.size(0)
            correct += (out.argmax(1) == y).sum().item()
    return loss / 397, correct / 397


model = LeNet()
optimizer = optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(3):
    train_loss = train(model, optimizer, criterion)
    test_loss, acc = test(model, criterion)
    print(f"{epoch} train {train_loss:.4f} test {test_loss:.4f} acc {acc:.4f}")
