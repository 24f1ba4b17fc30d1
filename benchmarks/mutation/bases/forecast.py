"""Forecast the next value of a noisy series at every time step with causal attention."""

import torch
import torch.nn as nn

torch.manual_seed(10)

WINDOW = 20
CHANNELS = 3


def make_series(length):
    t = torch.arange(length).float().unsqueeze(1)
    periods = torch.tensor([[9.0, 14.0, 23.0]])
    return torch.sin(6.28 * t / periods) + 0.5 * torch.sin(6.28 * t / 31.0) + 0.1 * torch.randn(length, CHANNELS)


series = make_series(1500)
n_train = 1100
train_series, test_series = series[:n_train], series[n_train:]
mean, std = train_series.mean(dim=0), train_series.std(dim=0)
train_series = (train_series - mean) / std
test_series = (test_series - mean) / std


def windows(values, stride):
    starts = range(0, len(values) - WINDOW, stride)
    return torch.stack([values[s : s + WINDOW + 1] for s in starts])  # (windows, time + 1, channels)


class Forecaster(nn.Module):
    def __init__(self, width=24, heads=2):
        super().__init__()
        self.inp = nn.Linear(CHANNELS, width)
        self.position = nn.Parameter(0.02 * torch.randn(WINDOW, 1, width))
        self.attention = nn.MultiheadAttention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(0.05)
        self.ff = nn.Sequential(nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, width))
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        x = self.inp(x).transpose(0, 1)  # attention wants time first
        x = x + self.position
        future = torch.triu(torch.ones(WINDOW, WINDOW, dtype=torch.bool), diagonal=1)
        attended, _ = self.attention(x, x, x, attn_mask=future, need_weights=False)
        x = self.norm(x + attended)
        x = x + self.drop(self.ff(x))
        return self.out(x).squeeze(-1).transpose(0, 1)


train_windows = windows(train_series, stride=4)
test_windows = windows(test_series, stride=WINDOW)

net = Forecaster()
opt = torch.optim.Adam(net.parameters(), lr=4e-3)
epochs, batch = 4, 24
sched = torch.optim.lr_scheduler.OneCycleLR(
    opt, max_lr=8e-3, epochs=epochs, steps_per_epoch=-(-len(train_windows) // batch)
)


def predict_and_score(chunk):
    x, y = chunk[:, :-1], chunk[:, 1:, 0]
    prediction = net(x)
    return ((prediction - y) ** 2).mean()


for epoch in range(epochs):
    net.train()
    permutation = torch.randperm(len(train_windows))
    squared = 0.0
    for chunk in train_windows[permutation].split(batch):
        opt.zero_grad()
        loss = predict_and_score(chunk)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        squared += loss.item() * len(chunk)

    net.eval()
    with torch.no_grad():
        test_mse = predict_and_score(test_windows).item()
    print(f"epoch {epoch}: train mse {squared / len(train_windows):.5f}, test mse {test_mse:.5f}")
