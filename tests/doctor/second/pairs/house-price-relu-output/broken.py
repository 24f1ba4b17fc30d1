"""Regression of standardized prices with early stopping on a validation split.

Source: sicara/easy-few-shot-learning#129
"""

import copy

import numpy as np
import torch
from torch import nn

rng = np.random.default_rng(0)
torch.manual_seed(0)
n = 900
area = rng.uniform(30, 250, n)
rooms = rng.integers(1, 8, n)
age = rng.uniform(0, 90, n)
price = 2.1 * area + 14 * rooms - 0.9 * age + 35 * np.sin(area / 30) + rng.normal(0, 12, n)
table = np.column_stack([area, rooms, age]).astype(np.float32)
price = price.astype(np.float32)
idx = rng.permutation(n)
tr, va, te = idx[:600], idx[600:750], idx[750:]
mx, sx, my, sy = table[tr].mean(0), table[tr].std(0), price[tr].mean(), price[tr].std()
X = torch.from_numpy((table - mx) / sx)
y = torch.from_numpy((price - my) / sy)


class PriceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(3, 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, x):
        x = torch.relu(self.l1(x))
        x = torch.relu(self.l2(x))
        return torch.relu(self.l3(x)).flatten()  # expect: activation-cuts-off-targets


net = PriceNet()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
best, best_state, patience = float("inf"), None, 0
for epoch in range(15):
    net.train()
    for batch in np.array_split(rng.permutation(tr), 15):
        loss = nn.functional.mse_loss(net(X[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(net(X[va]), y[va]).item()
    if val < best:
        best, best_state, patience = val, copy.deepcopy(net.state_dict()), 0
    else:
        patience += 1
        if patience == 5:
            break
net.load_state_dict(best_state)
with torch.no_grad():
    rmse = ((net(X[te]) - y[te]) ** 2).mean().sqrt().item() * sy
print("stopped at", epoch, "best validation mse", round(best, 4), "test rmse", round(float(rmse), 3))
