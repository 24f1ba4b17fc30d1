"""Autoencoder for anomaly scores on synthetic machine sensors.

Source: milesial/Pytorch-UNet#378
"""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.RandomState(0)
torch.manual_seed(0)

latent = rng.randn(900, 3)
mix = rng.randn(3, 20)
normal = (latent @ mix + 0.1 * rng.randn(900, 20)).astype("float32")
broken_machines = rng.randn(100, 20).astype("float32") * 2

train, held_out = normal[:700], normal[700:]
mean, std = train.mean(0), train.std(0)
prep = lambda a: torch.from_numpy((a - mean) / std)

loader = DataLoader(TensorDataset(prep(train)), batch_size=50, shuffle=True)

encoder = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3))
decoder = nn.Sequential(nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 20))
params = list(encoder.parameters()) + list(decoder.parameters())
optimizer = optim.Adam(params, lr=3e-3)
criterion = nn.MSELoss()

for epoch in range(6):
    losses = []
    for (batch,) in loader:
        reconstruction = decoder(encoder(batch))
        loss = criterion(reconstruction, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch + 1}/6  train mse {np.mean(losses):.4f}")

with torch.no_grad():

    def score(a):
        z = prep(a)
        return ((decoder(encoder(z)) - z) ** 2).mean(dim=1)

    ok, bad = score(held_out), score(broken_machines)
print("median score ok ", round(ok.median().item(), 4))
print("median score bad", round(bad.median().item(), 4))
print("separated", (bad > ok.quantile(0.95)).float().mean().item())
