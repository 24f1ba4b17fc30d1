"""GRU that forecasts the next hour of a synthetic temperature curve.

Exported from a notebook; windows are drawn by hand, no DataLoader.
Source: wenet-e2e/wekws#72
"""

import math

import torch
import torch.nn as nn

torch.manual_seed(3)

# --- cell 1: data -------------------------------------------------
hours = torch.arange(0, 700, dtype=torch.float32)
temp = 12 + 8 * torch.sin(2 * math.pi * hours / 24) + 3 * torch.sin(2 * math.pi * hours / 168)
temp = temp + 0.4 * torch.randn_like(temp)

split = 520
mu, sd = temp[:split].mean(), temp[:split].std()
series = (temp - mu) / sd


def windows(s, length=24):
    x = s.unfold(0, length, 1)[:-1]
    y = s[length:]
    return x.unsqueeze(-1), y


x_train, y_train = windows(series[:split])
x_test, y_test = windows(series[split:])


# --- cell 2: model ------------------------------------------------
class Forecaster(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.gru(x)
        return self.out(h[:, -1]).squeeze(-1)


net = Forecaster()
opt = torch.optim.SGD(net.parameters(), lr=0.05)
mse = nn.MSELoss()

# --- cell 3: training ---------------------------------------------
step, epoch = 0, 0
while epoch < 4:
    order = torch.randperm(len(x_train))
    for start in range(0, len(order), 64):
        idx = order[start : start + 64]
        loss = mse(net(x_train[idx]), y_train[idx])
        loss.backward()  # expect: gradients-not-cleared
        opt.step()
        step += 1
    epoch += 1
    print("epoch", epoch, "last batch", round(loss.item(), 4))

# --- cell 4: test -------------------------------------------------
net.eval()
with torch.no_grad():
    rmse = mse(net(x_test), y_test).sqrt() * sd
print("test rmse (degrees)", round(rmse.item(), 4))
