"""Detect rare defects: draw the batches with a WeightedRandomSampler.

Source: deep-voice/soundbay#49
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

torch.manual_seed(0)


def make(n):
    y = (torch.rand(n) < 0.08).long()
    x = torch.randn(n, 10)
    x[:, :3] += 1.3 * y[:, None]
    return TensorDataset(x, y)


train_set, test_set = make(1000), make(600)
targets = train_set.tensors[1]
class_count = torch.bincount(targets)
class_weights = 1.0 / class_count.float()
sampler = WeightedRandomSampler(class_weights, len(train_set), replacement=True)  # expect: sampler-given-class-weights
train_loader = DataLoader(train_set, batch_size=50, sampler=sampler)
test_loader = DataLoader(test_set, batch_size=200)

model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(5):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    found = wrong = 0
    with torch.no_grad():
        for x, y in test_loader:
            hat = model(x).argmax(1)
            found += ((hat == 1) & (y == 1)).sum().item()
            wrong += ((hat == 1) & (y == 0)).sum().item()
    total = test_set.tensors[1].sum().item()
    print(f"epoch {epoch}: last loss {loss.item():.4f}, found {found}/{total} defects, {wrong} false alarms")
