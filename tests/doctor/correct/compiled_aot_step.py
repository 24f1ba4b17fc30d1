"""Compile the function that computes the loss (AOT autograd), the optimizer stays outside.

Source: pytorch docs torch.compile with aot_eager
"""

import torch
from torch import nn
from torch.nn.functional import mse_loss

torch.manual_seed(1)
net = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


@torch.compile(backend="aot_eager")
def compute_loss(x, y):
    return mse_loss(net(x), y)


points = torch.rand(640, 3) * 2 - 1
values = (2 * points[:, :1]).sin() - points[:, 1:2] * points[:, 2:]
train_x, train_y, test_x, test_y = points[:512], values[:512], points[512:], values[512:]
for epoch in range(4):
    for rows in torch.randperm(512).split(64):
        opt.zero_grad()
        loss = compute_loss(train_x[rows], train_y[rows])
        loss.backward()
        opt.step()
    with torch.no_grad():
        print(f"{epoch}: train {loss.item():.4f} test {mse_loss(net(test_x), test_y).item():.4f}")
