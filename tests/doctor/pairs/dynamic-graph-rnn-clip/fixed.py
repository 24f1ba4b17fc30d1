"""Next value forecasting with an LSTM, gradient clipping against spikes.

Source: VGraphRNN/VGRNN#4
"""

import math

import torch
import torch.nn as nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(21)

t = torch.arange(900, dtype=torch.float32)
series = torch.sin(2 * math.pi * t / 25) + 0.5 * torch.sin(2 * math.pi * t / 60) + 0.05 * torch.randn(900)
WINDOW = 20
windows = series.unfold(0, WINDOW + 1, 1)
split = 600
train_w, valid_w = windows[:split], windows[split + WINDOW :]
loader = DataLoader(TensorDataset(train_w[:, :-1].unsqueeze(2), train_w[:, -1:]), batch_size=40, shuffle=True)


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 20, batch_first=True)
        self.fc = nn.Linear(20, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


model = Forecaster()
opt = torch.optim.SGD(model.parameters(), lr=0.5)
mse = nn.MSELoss()
clip = 0.05

for epoch in range(4):
    model.train()
    for x, y in loader:
        opt.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        clip_grad_norm_(model.parameters(), clip)
        opt.step()
    model.eval()
    with torch.no_grad():
        val = mse(model(valid_w[:, :-1].unsqueeze(2)), valid_w[:, -1:]).item()
    print(f"epoch {epoch} val mse {val:.4f}")
