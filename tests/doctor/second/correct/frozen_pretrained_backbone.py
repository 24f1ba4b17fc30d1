"""Linear probe: a backbone trained on one half of the classes, frozen for the other half.

Source: lightly-ai/lightly#1438
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(0)
digits = load_digits()
X = torch.tensor(digits.data / 16, dtype=torch.float32)
y = torch.tensor(digits.target)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
low, high = y < 5, y >= 5


def run(model, params, X, y, epochs, lr):
    opt = torch.optim.Adam(params, lr=lr)
    for _ in range(epochs):
        for idx in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(X[idx]), y[idx])
            loss.backward()
            opt.step()
    return loss.item()


backbone = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())
head_low = nn.Linear(24, 5)
model = nn.Sequential(backbone, head_low)
print("pretraining", round(run(model, model.parameters(), X[low], y[low], 4, 1e-2), 4))

# from here on the features are given
backbone.eval()
for p in backbone.parameters():
    p.requires_grad = False

Xh, yh = X[high], y[high] - 5
cut = int(0.8 * len(Xh))
head_high = nn.Linear(24, 5)
probe = nn.Sequential(backbone, head_high)
print("probe", round(run(probe, head_high.parameters(), Xh[:cut], yh[:cut], 8, 3e-2), 4))
probe.eval()
with torch.no_grad():
    print("accuracy", (probe(Xh[cut:]).argmax(1) == yh[cut:]).float().mean().item())
