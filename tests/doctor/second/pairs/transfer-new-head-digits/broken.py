"""Transfer from the digits 0-4 to 5-9: frozen features, new classifier.

Source: pytorch/tutorials#1008
"""

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.fc1 = nn.Linear(32, 16)
        self.fc2 = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(self.features(x))))


def loaders(keep, offset):
    d = load_digits()
    x, y = torch.tensor(d.data, dtype=torch.float32) / 16, torch.tensor(d.target)
    chosen = keep(y)
    x, y = x[chosen], y[chosen] - offset
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    cut = len(x) * 3 // 4
    return (
        DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=256),
    )


def train(net, loader, epochs):
    optimizer = optim.Adam(net.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()
    net.train()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
    return loss.item()


def test(net, loader):
    net.eval()
    good = total = 0
    with torch.no_grad():
        for x, y in loader:
            good += (net(x).argmax(1) == y).sum().item()
            total += len(y)
    return good / total


source_train, source_test = loaders(lambda y: y < 5, 0)
target_train, target_test = loaders(lambda y: y >= 5, 5)
net = Net(5)
print("source loss", round(train(net, source_train, 3), 4), "acc", round(test(net, source_test), 4))

net.fc1 = nn.Linear(32, 16)
net.fc2 = nn.Linear(16, 5)
for name, param in net.named_parameters():
    if "fc2" not in name:
        param.requires_grad = False  # expect: frozen-by-accident
print("target loss", round(train(net, target_train, 6), 4), "acc", round(test(net, target_test), 4))
