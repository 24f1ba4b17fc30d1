"""Image-to-number regression with a convolutional encoder and a separate regressor.

Source: zjunlp/HVPNeT#5
"""

import itertools

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def bars(n):
    height = torch.rand(n)
    rows = torch.arange(12).view(1, 12, 1) / 12
    img = (rows < height.view(n, 1, 1)).float().expand(n, 12, 12) + 0.8 * torch.randn(n, 12, 12)
    return TensorDataset(img.unsqueeze(1), (height - 0.5).unsqueeze(1))


encoder = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()
)
regressor = nn.Sequential(nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(regressor.parameters(), lr=3e-3)  # expect: parameters-not-in-optimizer
loader = DataLoader(bars(480), batch_size=40, shuffle=True)
test_x, test_y = bars(160).tensors
for epoch in range(5):
    encoder.train(), regressor.train()
    total = 0.0
    for x, y in loader:
        loss = nn.functional.mse_loss(regressor(encoder(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    encoder.eval(), regressor.eval()
    with torch.no_grad():
        mae = (regressor(encoder(test_x)) - test_y).abs().mean().item()
    print(f"epoch {epoch} train mse {total / 480:.5f} test mae {mae:.5f}")
