"""Evaluate a wine classifier with a small test loader.

Source: udacity/deep-learning-v2-pytorch#71
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
wine = load_wine()
x, y = torch.tensor(wine.data, dtype=torch.float32), torch.tensor(wine.target)
perm = torch.randperm(len(x))
x, y = x[perm], y[perm]
x = (x - x[:100].mean(0)) / x[:100].std(0)
BATCH = 32
train_loader = DataLoader(TensorDataset(x[:100], y[:100]), batch_size=20, shuffle=True)
test_loader = DataLoader(TensorDataset(x[100:], y[100:]), batch_size=BATCH)


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(13, 20), nn.Linear(20, 3)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def test(net):
    net.eval()
    correct = 0
    with torch.no_grad():
        for features, labels in test_loader:
            correct += (net(features).argmax(dim=1) == labels).sum().item()
    return correct / (len(test_loader) * BATCH)  # expect: loss-not-averaged-as-reported


net = WineNet()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(6):
    net.train()
    for features, labels in train_loader:
        optimizer.zero_grad()
        loss_fn(net(features), labels).backward()
        optimizer.step()
    print(f"epoch {epoch}: test accuracy {test(net):.4f}")
