"""Variational autoencoder on two dimensional blobs lifted to 16 dimensions.

Source: sacmehta/EdgeNets#14
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--latent", type=int, default=2)
parser.add_argument("--beta", type=float, default=0.1)
args = parser.parse_args()

torch.manual_seed(42)


class VAE(nn.Module):
    def __init__(self, d_in, d_latent):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(d_in, 32), nn.ReLU(), nn.Linear(32, 2 * d_latent))
        self.decoder = nn.Sequential(nn.Linear(d_latent, 32), nn.ReLU(), nn.Linear(32, d_in))

    def forward(self, x):
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.decoder(z), mu, logvar


def elbo(recon, x, mu, logvar):
    rec = F.mse_loss(recon, x, reduction="sum") / len(x)
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum() / len(x)
    return rec + args.beta * kl


lift = torch.randn(2, 16)
points = torch.cat([torch.randn(160, 2) * 0.3 + c for c in torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])])
data = torch.tanh(points @ lift) + 0.05 * torch.randn(480, 16)
data = data[torch.randperm(len(data))]
train_loader = DataLoader(TensorDataset(data[:400]), batch_size=args.batch_size, shuffle=True)
test_x = data[400:]

model = VAE(16, args.latent)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(1, args.epochs + 1):
    model.train()
    total = 0.0
    for (x,) in train_loader:
        recon, mu, logvar = model(x)
        loss = elbo(recon, x, mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    model.eval()
    with torch.no_grad():
        mu, logvar = model.encoder(test_x).chunk(2, dim=1)
        mse = F.mse_loss(model.decoder(mu), test_x).item()
    print(f"epoch {epoch} elbo {total / 400:.4f} test mse {mse:.4f}")
