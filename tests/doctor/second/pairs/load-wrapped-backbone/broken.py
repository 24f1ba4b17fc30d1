"""Loads a backbone saved by a wrapped (parallel) model and fine-tunes a classifier on it.

Source: pytorch/examples#1029
"""

import io

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
d = load_digits()
X, y = torch.tensor(d.data, dtype=torch.float32) / 16, torch.tensor(d.target)
order = torch.randperm(len(X))
X, y = X[order], y[order]


def backbone():
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = backbone()
        self.decoder = nn.Linear(24, 64)

    def forward(self, x):
        return self.decoder(self.module(x))


# pretraining without labels
ae = Autoencoder()
opt = torch.optim.Adam(ae.parameters(), lr=5e-3)
for epoch in range(4):
    for idx in torch.randperm(1000).split(50):
        opt.zero_grad()
        loss = nn.functional.mse_loss(ae(X[idx]), X[idx])
        loss.backward()
        opt.step()
print("reconstruction", round(loss.item(), 5))
file = io.BytesIO()
torch.save({k: v for k, v in ae.state_dict().items() if k.startswith("module.")}, file)
file.seek(0)

# fine-tuning with 150 labels
net = backbone()
state = torch.load(file)
net.load_state_dict(state, strict=False)  # expect: nothing-loaded
model = nn.Sequential(net, nn.Linear(24, 10))
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(10):
    for idx in torch.randperm(150).split(30):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(X[1000 + idx]), y[1000 + idx])
        loss.backward()
        opt.step()
model.eval()
with torch.no_grad():
    print("loss", round(loss.item(), 4), "accuracy", (model(X[1200:]).argmax(1) == y[1200:]).float().mean().item())
