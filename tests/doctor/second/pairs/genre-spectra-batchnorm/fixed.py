"""Music genre classifier on made-up spectra, evaluation in batches.

Source: skorch-dev/skorch#218
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def songs(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    x = torch.randn(n, 40, generator=g)
    x[:, :20] += y[:, None].float()
    return TensorDataset(x, y)


model = nn.Sequential(nn.Linear(40, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
train_loader = DataLoader(songs(480, 0), batch_size=32, shuffle=True)
test_loader = DataLoader(songs(240, 1), batch_size=40)


def evaluate():
    model.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for x, y in test_loader:
            out = model(x)
            loss += criterion(out, y).item() * len(y)
            right += (out.argmax(1) == y).sum().item()
    return loss / 240, right / 240


for epoch in range(3):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    print(epoch, [round(v, 4) for v in evaluate()])
