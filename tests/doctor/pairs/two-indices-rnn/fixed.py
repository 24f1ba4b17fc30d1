"""Next value of a share index from the last twenty days of it and of a second one.

Source: huseinzol05/Stock-Prediction-Models#126
"""

import numpy as np
import torch
from torch import nn

rng = np.random.RandomState(3)
torch.manual_seed(0)
days = np.cumsum(0.5 * rng.randn(700, 2) + 0.1, 0)
known = 500

low, high = days[:known].min(0), days[:known].max(0)
days = (days - low) / (high - low)


def windows(table, length=20):
    x = np.stack([table[i : i + length] for i in range(len(table) - length)])
    return torch.tensor(x).float(), torch.tensor(table[length:, 0]).float()


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.RNN(2, 16, batch_first=True), nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[1][0]).squeeze(1)


(past, past_next), (future, future_next) = windows(days[:known]), windows(days[known:])
model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for round in range(3):
    model.train()
    for _ in range(12):
        rows = torch.randint(0, len(past), (64,))
        loss = nn.functional.mse_loss(model(past[rows]), past_next[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        fit = nn.functional.mse_loss(model(past), past_next).item()
        test = nn.functional.mse_loss(model(future), future_next).item()
    print(f"round {round} fit {fit:.5f} test {test:.5f}")
