"""Regression on a smooth surface with weights set by an init function.

Source: bbartoldson/examples
"""

import torch
from torch import nn

torch.manual_seed(0)


def init_weights(m):
    if isinstance(m, nn.Linear):
        nn.init.xavier_uniform_(m.weight)
        nn.init.zeros_(m.bias)


def surface(n):
    x = torch.rand(n, 3) * 2 - 1
    return x, (torch.sin(3 * x[:, :1]) - x[:, 1:2] * x[:, 2:])


net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
net.apply(init_weights)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
loss_fn = nn.MSELoss()
x, y = surface(800)
x_test, y_test = surface(200)
for epoch in range(10):
    for idx in torch.randperm(800).split(40):
        loss = loss_fn(net(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 3 == 0:
        print("epoch", epoch, "loss", round(loss.item(), 5))
with torch.no_grad():
    print("test", round(loss_fn(net(x_test), y_test).item(), 5))
