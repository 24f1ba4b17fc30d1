"""Rounds of local training on two sources, each followed by half a step back to where the round began.

Source: pytorch/pytorch#34765
"""

from copy import deepcopy

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 1))
sources = []
for slope in (1.0, 3.0):
    inputs = torch.randn(64, 3)
    sources.append((inputs, slope * inputs.sum(1, keepdim=True)))


def local_training(inputs, targets, steps=5):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(inputs), targets).backward()
        optimizer.step()


for number in range(8):
    start = deepcopy(net.state_dict())
    for inputs, targets in sources:
        local_training(inputs, targets)
    end = net.state_dict()
    net.load_state_dict({name: 0.5 * start[name] + 0.5 * end[name] for name in end})
    with torch.no_grad():
        errors = [nn.functional.mse_loss(net(inputs), targets).item() for inputs, targets in sources]
    print(f"round {number} errors {errors[0]:.4f} {errors[1]:.4f}")
