"""Small VAE on digits under bfloat16 autocast, written for a GPU first.

Source: IAHispano/Applio#860
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
x = x[torch.randperm(len(x))]
train_loader = DataLoader(TensorDataset(x[:1200]), batch_size=100, shuffle=True)
test = x[1200:].to(DEVICE)


class VAE(nn.Module):
    def __init__(self, z=4):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.mu, self.logvar = nn.Linear(48, z), nn.Linear(48, z)
        self.dec = nn.Sequential(nn.Linear(z, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu) if self.training else mu
        return self.dec(z), mu, logvar


def elbo(logits, x, mu, logvar):
    rec = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar.float() - mu.float().pow(2) - logvar.float().exp())
    return (rec + kld) / len(x)


vae = VAE().to(DEVICE)
optimizer = torch.optim.SGD(vae.parameters(), lr=1e-2)
scaler = torch.amp.GradScaler(DEVICE, init_scale=16.0)
for epoch in range(4):
    vae.train()
    total = 0.0
    for (batch,) in train_loader:
        batch = batch.to(DEVICE)
        optimizer.zero_grad()
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            logits, mu, logvar = vae(batch)
        loss = elbo(logits, batch, mu, logvar)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total += loss.item() * len(batch)
    print(f"epoch {epoch} train -elbo {total / 1200:.3f}")
vae.eval()
with torch.no_grad():
    print("test -elbo", round(elbo(vae(test)[0], test, *vae(test)[1:]).item(), 3))
