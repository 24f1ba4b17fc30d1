"""Identification with an embedding network and a cosine head, as in face recognition codes.

Source: marrrcin/pytorch-resnet-mnist#2
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)

N_ID, DIM = 8, 20
centers = torch.randn(N_ID, DIM)


def sample(n):
    ids = torch.randint(0, N_ID, (n,))
    return centers[ids] + 0.9 * torch.randn(n, DIM), ids


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(DIM, 32)
        self.fc2 = nn.Linear(32, 12)

    def forward(self, x):
        return F.normalize(self.fc2(F.relu(self.fc1(x))), dim=1)


class CosineHead(nn.Module):
    def __init__(self, scale=10.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(N_ID, 12) / math.sqrt(12))
        self.scale = scale

    def forward(self, emb):
        return self.scale * emb @ F.normalize(self.weight, dim=1).t()


embedder, head = Embedder(), CosineHead()
params = list(embedder.parameters()) + list(head.parameters())
optimizer = torch.optim.SGD(params, lr=0.05, momentum=0.9)

x_train, y_train = sample(640)
x_val, y_val = sample(200)

for epoch in range(3):
    embedder.train()
    head.train()
    order = torch.randperm(len(x_train))
    for idx in order.split(32):
        logits = head(embedder(x_train[idx]))
        loss = F.cross_entropy(logits, y_train[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    embedder.eval()
    head.eval()
    with torch.no_grad():
        val_logits = head(embedder(x_val))
        val_loss = F.cross_entropy(val_logits, y_val).item()
        acc = (val_logits.argmax(1) == y_val).float().mean().item()
    print(f"Epoch {epoch}: val loss {val_loss:.4f}, rank-1 {acc:.3f}, |W| {head.weight.norm().item():.2f}")
