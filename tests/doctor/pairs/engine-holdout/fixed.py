"""Regression on a synthetic grid of engine measurements with hold-out indices.

Source: pytorch/tutorials#1830
"""

import torch
from torch.utils.data import DataLoader, Subset, TensorDataset


class Engine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(3, 40)
        self.b = torch.nn.Linear(40, 1)

    def forward(self, x):
        return self.b(torch.nn.functional.silu(self.a(x)))


torch.manual_seed(17)
x = torch.rand(600, 3) * 2 - 1
y = (torch.sin(3 * x[:, :1]) * x[:, 1:2] + x[:, 2:] ** 2) + 0.15 * torch.randn(600, 1)
y = (y - y[:480].mean()) / y[:480].std()
full = TensorDataset(x, y)

n_train = 480
train_idx, valid_idx = range(n_train), range(n_train, 600)
train = DataLoader(Subset(full, train_idx), batch_size=48, shuffle=True)
valid = DataLoader(Subset(full, valid_idx), batch_size=120)

net, crit = Engine(), torch.nn.MSELoss()
sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
epoch = 0
while True:
    net.train()
    for xb, yb in train:
        sgd.zero_grad()
        crit(net(xb), yb).backward()
        sgd.step()
    net.eval()
    sse = 0.0
    with torch.no_grad():
        for xb, yb in valid:
            sse += crit(net(xb), yb).item() * len(xb)
    epoch += 1
    if epoch % 5 == 0:
        print(f"{epoch:>3} valid MSE {sse / len(valid.dataset):.4f}")
    if epoch >= 15:
        break
