"""Siamese network: one encoder for both inputs, CosineEmbeddingLoss on pairs that are the same digit or not.

Source: pytorch/examples siamese_network
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Pairs are drawn anew whenever an item is read, half of them of one class."""

    def __init__(self, x, y, fixed=False):
        self.x, self.y, self.fixed = x, y, fixed
        self.rows = [torch.nonzero(y == c).flatten() for c in range(10)]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i) if self.fixed else None
        same = i % 2 == 0
        label = int(self.y[i])
        other = label if same else (label + int(torch.randint(1, 10, (1,), generator=g))) % 10
        rows = self.rows[other]
        j = rows[torch.randint(len(rows), (1,), generator=g)].item()
        return self.x[i], self.x[j], 1.0 if same else -1.0


torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
perm = torch.randperm(len(y))
x, y = torch.tensor(x / 16, dtype=torch.float32)[perm], torch.tensor(y)[perm]
train_loader = DataLoader(Pairs(x[:1400], y[:1400]), batch_size=100, shuffle=True)
test_loader = DataLoader(Pairs(x[1400:], y[1400:], fixed=True), batch_size=100)
encoder = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 12))
criterion = nn.CosineEmbeddingLoss(margin=0.3)
optimizer = torch.optim.Adam(encoder.parameters(), lr=5e-3)
for epoch in range(3):
    encoder.train()
    for a, b, same in train_loader:
        optimizer.zero_grad()
        loss = criterion(encoder(a), encoder(b), same)
        loss.backward()
        optimizer.step()
    encoder.eval()
    right = 0
    with torch.no_grad():
        for a, b, same in test_loader:
            similarity = nn.functional.cosine_similarity(encoder(a), encoder(b))
            right += ((similarity > 0.5) == (same > 0)).sum().item()
    print(f"epoch {epoch} loss {loss.item():.4f} pairs right {right / 397:.4f}")
