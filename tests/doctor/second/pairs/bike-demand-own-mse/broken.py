"""Hourly demand regression with a hand-written loss, generator as loader.

Source: deepset-ai/FARM#229
"""

import math

import torch
import torch.nn as nn

torch.manual_seed(0)


def demand(n):
    hour = torch.rand(n) * 24
    temp = torch.randn(n)
    rain = (torch.rand(n) < 0.2).float()
    y = 3 + 2 * torch.sin(hour / 24 * 2 * math.pi) + 0.8 * temp - 1.5 * rain + 0.2 * torch.randn(n)
    x = torch.stack([torch.sin(hour / 24 * 2 * math.pi), torch.cos(hour / 24 * 2 * math.pi), temp, rain], 1)
    return x, y


def loader(x, y, size):
    while True:
        pick = torch.randint(0, len(x), (size,))
        yield {"features": x[pick], "target": y[pick]}


def rmse_loss(prediction, target):
    return torch.sqrt(torch.mean((prediction - target) ** 2))  # expect: loss-broadcast


x, y = demand(1000)
x_test, y_test = demand(200)
model = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
stream = loader(x, y, 50)
for step in range(1, 121):
    batch = next(stream)
    loss = rmse_loss(model(batch["features"]), batch["target"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        print("step", step, "rmse", round(loss.item(), 4))

with torch.no_grad():
    p = model(x_test).squeeze(1)
print("test rmse", round(((p - y_test) ** 2).mean().sqrt().item(), 4), "spread", round(p.std().item(), 4))
