"""Demand forecast from sliding windows with a one-dimensional convolution.

Source: Y-debug-sys/Diffusion-TS#67
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

rng = np.random.default_rng(11)
torch.manual_seed(11)
steps = np.cumsum(rng.normal(0, 1, 700))
series = torch.tensor((steps - steps[:520].mean()) / steps[:520].std(), dtype=torch.float32)
W = 16


def to_windows(values, repeat=1):
    x = values.unfold(0, W, 1)[:-1]
    y = values[W:]
    # several passes over the history with the same windows make the epochs longer
    return TensorDataset(x.repeat(repeat, 1).unsqueeze(1), y.repeat(repeat).unsqueeze(1))


train_set, test_set = to_windows(series[:520], repeat=2), to_windows(series[520:])
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
test_loader = DataLoader(test_set, batch_size=100)

model = nn.Sequential(nn.Conv1d(1, 16, 5), nn.ReLU(), nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
mse = nn.MSELoss()
for epoch in range(8):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        mse(model(x), y).backward()
        optimizer.step()
    model.eval()
    sse = 0.0
    with torch.no_grad():
        for x, y in test_loader:
            sse += mse(model(x), y).item() * len(x)
    print(f"epoch {epoch + 1}: test RMSE {(sse / len(test_set)) ** 0.5:.4f}")
