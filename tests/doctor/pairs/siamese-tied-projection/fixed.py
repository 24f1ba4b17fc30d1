"""Siamese network that tells whether two signatures are of one writer; the projection is one shared matrix.

Source: queenie88/A-GCN#4
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(47)

WRITERS, DIM = 30, 24
style = torch.randn(WRITERS, 6)
nuisance, basis = torch.randn(6, DIM), torch.randn(6, DIM)


def pairs(n, writers):
    a = writers[torch.randint(0, len(writers), (n,))]
    b = torch.where(torch.rand(n) < 0.5, a, writers[torch.randint(0, len(writers), (n,))])
    draw = lambda w: style[w] @ basis + 1.5 * torch.randn(n, 6) @ nuisance
    return draw(a), draw(b), (a == b).float()


class Siamese(nn.Module):
    def __init__(self, out=10):
        super().__init__()
        self.projection = nn.Parameter(torch.randn(out, DIM) / math.sqrt(DIM))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.offset = nn.Parameter(torch.tensor(1.0))

    def embed(self, x):
        return F.normalize(F.linear(x, self.projection), dim=1)

    def forward(self, a, b):
        distance = (self.embed(a) - self.embed(b)).pow(2).sum(1)
        return self.offset - self.scale * distance


ids = torch.randperm(WRITERS)
train_loader = DataLoader(TensorDataset(*pairs(1200, ids[:20])), batch_size=60, shuffle=True)
a_test, b_test, same_test = pairs(400, ids[20:])

model = Siamese()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(5):
    model.train()
    for a, b, same in train_loader:
        loss = F.binary_cross_entropy_with_logits(model(a, b), same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = ((model(a_test, b_test) > 0) == (same_test > 0.5)).float().mean().item()
    print(f"epoch {epoch}: accuracy on new writers {acc:.3f}")
