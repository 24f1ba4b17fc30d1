"""Variational autoencoder for binary pictures, decoder with Bernoulli outputs.

Source: cvg/glue-factory#89
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

torch.manual_seed(0)
grey = torch.tensor(load_digits().images.reshape(-1, 64) / 16, dtype=torch.float32)
pictures = torch.bernoulli(grey)
pictures = pictures[torch.randperm(len(pictures))]
train_loader = DataLoader(pictures[:1400], batch_size=70, shuffle=True)
test_pictures = pictures[1400:]


class VAE(nn.Module):
    def __init__(self, z=6):
        super().__init__()
        self.enc = nn.Linear(64, 48)
        self.mu, self.logvar = nn.Linear(48, z), nn.Linear(48, z)
        self.dec1, self.dec2 = nn.Linear(z, 48), nn.Linear(48, 64)

    def decode(self, z):
        return torch.sigmoid(self.dec2(F.relu(self.dec1(z))))  # expect: sigmoid-before-bce-logits

    def forward(self, x):
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.decode(z), mu, logvar


def loss_function(recon, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(1, 6):
    model.train()
    train_loss = 0.0
    for x in train_loader:
        optimizer.zero_grad()
        recon, mu, logvar = model(x)
        loss = loss_function(recon, x, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        recon, mu, logvar = model(test_pictures)
        test_loss = loss_function(recon, test_pictures, mu, logvar).item()
    print(f"====> Epoch: {epoch} train {train_loss / 1400:.4f} test {test_loss / len(test_pictures):.4f}")
