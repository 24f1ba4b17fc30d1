"""Quantile regression by the pinball loss; three outputs for one target, broadcast on purpose.

Source: jdb78/pytorch-forecasting QuantileLoss
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
quantiles = torch.tensor([0.1, 0.5, 0.9])
x = torch.rand(700, 1) * 2 - 1
y = x**2 + (0.1 + 0.3 * (x + 1)) * torch.randn(700, 1)
train, test_x, test_y = TensorDataset(x[:500], y[:500]), x[500:], y[500:]


def pinball(prediction, target):
    error = target - prediction  # (N, 1) - (N, 3)
    return torch.maximum(quantiles * error, (quantiles - 1) * error).mean()


net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
for epoch in range(8):
    net.train()
    for xb, yb in DataLoader(train, batch_size=50, shuffle=True):
        loss = pinball(net(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        prediction = net(test_x)
        below = (test_y < prediction).float().mean(0)
    print(
        f"epoch {epoch} pinball {pinball(prediction, test_y).item():.4f} share below {[round(v, 2) for v in below.tolist()]}"
    )
