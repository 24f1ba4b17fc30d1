"""One-step forecast of weekly sales with a GRU.

Source: andrewgcodes/xlstm#4
"""

import math

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(8)

weeks = torch.arange(420, dtype=torch.float32)
series = 1.0 + 0.002 * weeks + 0.4 * torch.sin(2 * math.pi * weeks / 26) + 0.08 * torch.randn(420)
split = 340
mu, sd = series[:split].mean(), series[:split].std()
series = (series - mu) / sd

LOOKBACK = 20


def windows(values):
    x = torch.stack([values[i : i + LOOKBACK] for i in range(len(values) - LOOKBACK)])
    return x.unsqueeze(-1), values[LOOKBACK:].unsqueeze(-1)


train_x, train_y = windows(series[:split])
test_x, test_y = windows(series[split:])
loader = DataLoader(TensorDataset(train_x, train_y), batch_size=32, shuffle=True, drop_last=True)


class Forecaster(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        _, h = self.gru(x)
        # (1, batch, hidden) -> (batch, )
        return self.out(h[-1]).squeeze()  # expect: loss-broadcast


model = Forecaster()
criterion = nn.SmoothL1Loss()
opt = optim.RMSprop(model.parameters(), lr=2e-3)

for epoch in range(1, 9):
    model.train()
    running = 0.0
    for step, (x, y) in enumerate(loader, start=1):
        opt.zero_grad()
        loss = criterion(model(x), y)  # expect: loss-broadcast
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        running += loss.item()
    if epoch % 2 == 0:
        model.eval()
        with torch.no_grad():
            mae = (model(test_x).view(-1) - test_y.view(-1)).abs().mean() * sd
        print(f"epoch {epoch}: train {running / step:.4f}  test MAE {mae:.4f}")
