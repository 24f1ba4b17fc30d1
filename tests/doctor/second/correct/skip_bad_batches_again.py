"""Some batches hold broken readings; they are skipped, and a step may fall out.

Source: KevinMusgrave/pytorch-metric-learning#107
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(600, 5)
y = (x[:, 0] - 0.5 * x[:, 1]).unsqueeze(1)
x[::97, 2] = float("nan")  # a sensor drops out now and then
train = DataLoader(TensorDataset(x[:480], y[:480]), batch_size=16, shuffle=True)
net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(4):
    total, n, skipped = 0.0, 0, 0
    for xb, yb in train:
        loss = nn.functional.mse_loss(net(xb), yb)
        if not torch.isfinite(loss):
            skipped += 1
            continue
        opt.zero_grad()
        loss.backward()
        opt.step()
        total, n = total + loss.item() * len(xb), n + len(xb)
    print(f"epoch {epoch} loss {total / n:.4f} skipped {skipped}")
good = ~x[480:].isnan().any(1)
with torch.no_grad():
    print("test", round(nn.functional.mse_loss(net(x[480:][good]), y[480:][good]).item(), 4))
