"""Temporal convolutional network for the adding problem, convolutions with weight normalization.

Source: LaurentMazare/ocaml-torch#36
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

torch.manual_seed(0)


class Causal(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(c_in, c_out, 3, dilation=dilation)

    def forward(self, x):
        return F.relu(self.conv(F.pad(x, (self.pad, 0))))


class TCN(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.net = nn.Sequential(Causal(2, channels, 1), Causal(channels, channels, 2), Causal(channels, channels, 4))
        self.linear = nn.Linear(channels, 1)

    def forward(self, x):
        return self.linear(self.net(x)[:, :, -1])


def adding_problem(n, length=14):
    values, marks = torch.rand(n, length), torch.zeros(n, length)
    rows = torch.arange(n)
    first = torch.randint(0, length // 2, (n,))
    second = torch.randint(length // 2, length, (n,))
    marks[rows, first], marks[rows, second] = 1.0, 1.0
    return torch.stack([values, marks], 1), (values * marks).sum(1, keepdim=True)


def add_weight_norm(module):
    if isinstance(module, nn.Conv1d):
        weight_norm(module)


model = TCN()
model.apply(add_weight_norm)
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

x_test, y_test = adding_problem(300)
for step in range(1, 121):
    model.train()
    x, y = adding_problem(48)
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        model.eval()
        with torch.no_grad():
            print(f"step {step} test mse {F.mse_loss(model(x_test), y_test).item():.5f}")
