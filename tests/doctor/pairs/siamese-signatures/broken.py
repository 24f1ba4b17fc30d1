"""Siamese network with a contrastive loss on noisy prototype vectors.

Source: adambielski/siamese-triplet#18
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.default_rng(0)
torch.manual_seed(0)

n_writers, per_writer, dim = 12, 10, 20
prototypes = rng.normal(0, 1, (n_writers, dim))
samples = prototypes[:, None, :] + rng.normal(0, 0.4, (n_writers, per_writer, dim))


def sample_pairs(n, writers):
    a, b, same = [], [], []
    for _ in range(n):
        w = rng.choice(writers)
        if rng.random() < 0.5:
            i, j = rng.integers(per_writer, size=2)
            a.append(samples[w, i])
            b.append(samples[w, j])
            same.append(1.0)
        else:
            v = rng.choice([k for k in writers if k != w])
            a.append(samples[w, rng.integers(per_writer)])
            b.append(samples[v, rng.integers(per_writer)])
            same.append(0.0)
    return [torch.tensor(np.array(t), dtype=torch.float32) for t in (a, b, same)]


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(dim, 32), nn.PReLU(), nn.Linear(32, 8))

    def forward(self, x):
        return self.fc(x)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    def forward(self, out1, out2, same):
        squared = (out2 - out1).pow(2).sum(1)
        distance = squared.sqrt()  # expect: loss-not-finite
        return 0.5 * (same * squared + (1 - same) * F.relu(self.margin - distance).pow(2)).mean()


net = EmbeddingNet()
criterion = ContrastiveLoss(margin=2.0)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
train_writers, test_writers = list(range(9)), [9, 10, 11]
test_a, test_b, test_same = sample_pairs(100, test_writers)

for step in range(1, 61):
    net.train()
    a, b, same = sample_pairs(24, train_writers)
    loss = criterion(net(a), net(b), same)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        net.eval()
        with torch.no_grad():
            d = (net(test_a) - net(test_b)).norm(dim=1)
            acc = ((d < 1.0).float() == test_same).float().mean().item()
        print(f"step {step}: loss {loss.item():.4f}, test pair accuracy {acc:.3f}")
