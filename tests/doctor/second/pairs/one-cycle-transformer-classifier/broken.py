"""Parenthesis checker: transformer encoder trained with a one-cycle schedule.

Source: huggingface/diffusers#2632
"""

import random

import torch
from torch import nn

random.seed(0)
torch.manual_seed(0)


def example(n=12):
    if random.random() < 0.5:
        s, depth = [], 0
        for i in range(n):
            up = depth == 0 or (depth < n - i and random.random() < 0.5)
            s.append(0 if up else 1)
            depth += 1 if up else -1
        return s, 1
    s = [random.randint(0, 1) for _ in range(n)]
    depth, ok = 0, True
    for c in s:
        depth += 1 - 2 * c
        ok &= depth >= 0
    return s, int(ok and depth == 0)


def dataset(n):
    x, y = zip(*[example() for _ in range(n)])
    return torch.tensor(x), torch.tensor(y)


class Checker(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(2, d), nn.Embedding(12, d)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(d, 2)

    def forward(self, x):
        return self.out(self.body(self.tok(x) + self.pos(torch.arange(x.size(1)))).mean(1))


x, y = dataset(640)
tx, ty = dataset(200)
model = Checker()
epochs, batch_size = 5, 32
steps = len(x) // batch_size
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, epochs=epochs, steps_per_epoch=steps)
for epoch in range(epochs):
    model.train()
    for idx in torch.randperm(len(x)).split(batch_size):
        loss = nn.functional.cross_entropy(model(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()  # expect: scheduler-per-epoch-meant-per-batch
    model.eval()
    with torch.no_grad():
        acc = (model(tx).argmax(1) == ty).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f} lr {optimizer.param_groups[0]['lr']:.2e}")
