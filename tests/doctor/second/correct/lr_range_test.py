"""Learning-rate range test, then training from the saved start with the rate that it found.

Source: thtrieu/darkflow#118
"""

import copy

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(800, 10)
y = (x[:, 0] + x[:, 1] ** 2 > 1).long()
net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
start = copy.deepcopy(net.state_dict())

optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
factor, smooth, best, rates = 1.3, None, float("inf"), []
for i in range(60):
    idx = torch.randint(0, 640, (64,))
    loss = nn.functional.cross_entropy(net(x[idx]), y[idx])
    smooth = loss.item() if smooth is None else 0.8 * smooth + 0.2 * loss.item()
    if smooth > 3 * best:
        break  # it has diverged, as it should
    if smooth < best:
        best = smooth
    rates.append((smooth, optimizer.param_groups[0]["lr"]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for g in optimizer.param_groups:
        g["lr"] *= factor
lr = min(rates)[1] / 4
print("tried", len(rates), "rates, chose", f"{lr:.4g}")

net.load_state_dict(start)
optimizer = torch.optim.SGD(net.parameters(), lr=lr)
for epoch in range(4):
    for idx in torch.randperm(640).split(64):
        loss = nn.functional.cross_entropy(net(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    print("loss", round(loss.item(), 4), "test", (net(x[640:]).argmax(1) == y[640:]).float().mean().item())
