"""Contrastive pretraining in the SimCLR way, then a linear probe on features of the frozen encoder.

Source: open-edge-platform/anomalib#714
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

torch.manual_seed(22)

digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
y = digits.target
perm = torch.randperm(len(x))
train, test = perm[:1200], perm[1200:]

encoder = nn.Sequential(
    nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3)
)
projector = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))
optimizer = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=3e-3)


def augment(batch):
    keep = (torch.rand_like(batch) > 0.25).float()
    return batch * keep + 0.1 * torch.randn_like(batch)


def nt_xent(z1, z2, temperature=0.3):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    sim = z @ z.t() / temperature
    sim.fill_diagonal_(-1e9)
    n = len(z1)
    positives = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, positives)


for epoch in range(4):
    encoder.train()
    projector.train()
    total = 0.0
    for idx in train[torch.randperm(len(train))].split(100):
        z1, z2 = projector(encoder(augment(x[idx]))), projector(encoder(augment(x[idx])))
        loss = nt_xent(z1, z2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    print(f"epoch {epoch} contrastive loss {total / len(train):.4f}")


def features(indices):
    encoder.eval()
    with torch.no_grad():
        return torch.cat([encoder(x[idx]) for idx in indices.split(100)]).numpy()


probe = LogisticRegression(max_iter=200).fit(features(train), y[train.numpy()])
print(f"linear probe accuracy {probe.score(features(test), y[test.numpy()]):.4f}")
