"""Predict the next value of a long noisy wave with an LSTM and truncated backpropagation through time.

Chunks are read in order, the state is carried over and detached.

Source: pytorch discuss: implementing truncated backpropagation through time
"""

import torch
from torch import nn

torch.manual_seed(0)
T, n_series, chunk = 600, 8, 30
t = torch.arange(T).float()
phase = torch.rand(n_series, 1) * 6.28
series = (0.08 * t + phase).sin() * (0.013 * t + phase).cos() + 0.02 * torch.randn(n_series, T)
train, valid = series[:, :450], series[:, 450:]


class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        out, state = self.lstm(x.unsqueeze(-1), state)
        return self.head(out).squeeze(-1), state


net = Forecaster()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
mse = nn.MSELoss()

for epoch in range(6):
    net.train()
    state, total, count = None, 0.0, 0
    for start in range(0, train.size(1) - 1, chunk):
        x = train[:, start : start + chunk]
        y = train[:, start + 1 : start + chunk + 1]
        x = x[:, : y.size(1)]
        if state is not None:
            state = tuple(s.detach() for s in state)
        prediction, state = net(x, state)
        loss = mse(prediction, y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        total += loss.item() * y.numel()
        count += y.numel()

    net.eval()
    with torch.no_grad():
        # the validation part follows the training part: warm the state up on it
        _, state = net(train)
        prediction, _ = net(valid[:, :-1], state)
        val = mse(prediction, valid[:, 1:]).item()
    print(f"epoch {epoch}: train {total / count:.4f} valid {val:.4f}")
