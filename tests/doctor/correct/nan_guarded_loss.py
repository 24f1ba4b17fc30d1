"""Targets are missing here and there: the loss is taken over what is known, and an empty batch counts as zero.

Source: MoleculeNet style multi-task losses with missing labels (deepchem/deepchem)
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def masked_mse(prediction, target):
    known = ~torch.isnan(target)
    difference = torch.where(known, prediction - torch.nan_to_num(target), torch.zeros_like(prediction))
    return difference.pow(2).sum() / known.sum().clamp(min=1)


torch.manual_seed(0)
x = torch.randn(560, 5)
y = torch.stack([x[:, 0] * x[:, 1], x[:, 2] - x[:, 3], x.sum(1).cos()], 1)
observed = y.clone()
observed[torch.rand_like(y) < 0.4] = float("nan")
train_dl = DataLoader(TensorDataset(x[:400], observed[:400]), batch_size=20, shuffle=True)
model = nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Linear(48, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(6):
    model.train()
    for xb, yb in train_dl:
        loss = masked_mse(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(
            f"epoch {epoch}: {loss.item():.4f}, against the full targets {masked_mse(model(x[400:]), y[400:]).item():.4f}"
        )
