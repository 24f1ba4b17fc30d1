"""Pretrains on one task, swaps the head for the next one and goes on training.

Source: pytorch/pytorch#14467
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(700, 10)
coarse = (x[:, 0] > 0).long()
fine = coarse * 2 + (x[:, 1] + x[:, 2] > 0).long()


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.fc = nn.Linear(32, classes)

    def forward(self, x):
        return self.fc(self.features(x))


def train(net, optimizer, y, epochs):
    loader = DataLoader(TensorDataset(x[:560], y[:560]), batch_size=56, shuffle=True)
    net.train()
    for _ in range(epochs):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return loss.item(), (net(x[560:]).argmax(1) == y[560:]).float().mean().item()


net = Net(2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
print("coarse", [round(v, 4) for v in train(net, optimizer, coarse, 4)])
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)  # expect: optimizer-holds-stale-parameters
net.fc = nn.Linear(net.fc.in_features, 4)
print("fine", [round(v, 4) for v in train(net, optimizer, fine, 4)])
