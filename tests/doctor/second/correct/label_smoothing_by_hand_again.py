"""Label smoothing and mixup written by hand with log-softmax.

Source: microsoft/ProDA#20
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
d = load_digits()
X, Y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
p = torch.randperm(len(X))
X, Y = X[p], Y[p]
model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
opt = torch.optim.AdamW(model.parameters(), lr=5e-3)


def smooth(y, eps=0.1):
    return (1 - eps) * F.one_hot(y, 10).float() + eps / 10


for epoch in range(4):
    model.train()
    for idx in torch.randperm(1400).split(64):
        x, t = X[idx], smooth(Y[idx])
        lam = torch.distributions.Beta(0.4, 0.4).sample().item()
        other = torch.randperm(len(x))
        x, t = lam * x + (1 - lam) * x[other], lam * t + (1 - lam) * t[other]
        loss = -(t * F.log_softmax(model(x), dim=1)).sum(1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        acc = (model(X[1400:]).argmax(1) == Y[1400:]).float().mean().item()
    print(f"{epoch} loss {loss.item():.4f} acc {acc:.4f}")
