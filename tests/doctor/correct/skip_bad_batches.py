"""Sensor data with occasional corrupt readings: batches whose loss or gradient is not finite are skipped.

Source: facebookresearch/fairseq trainer, overflow and NaN handling
"""

import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
coef = torch.randn(8, 1)
readings = torch.randn(640, 8)
values = readings @ coef + 0.1 * torch.randn(640, 1)
broken = torch.randperm(512)[:3]
readings[broken, 2] = float("inf")

train_loader = DataLoader(TensorDataset(readings[:512], values[:512]), batch_size=32, shuffle=True)
valid_loader = DataLoader(TensorDataset(readings[512:], values[512:]), batch_size=64)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
criterion = nn.MSELoss()

for epoch in range(5):
    model.train()
    skipped, total, count = 0, 0.0, 0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if not math.isfinite(loss.item()):
            skipped += 1
            continue
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        if not torch.isfinite(norm):
            skipped += 1
            continue
        optimizer.step()
        total += loss.item() * len(x)
        count += len(x)

    model.eval()
    with torch.no_grad():
        valid = sum(criterion(model(x), y).item() * len(x) for x, y in valid_loader) / 128
    print(f"epoch {epoch}: train {total / count:.4f} valid {valid:.4f} ({skipped} batches skipped)")
