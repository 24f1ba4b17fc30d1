"""Triplet embeddings of synthetic identities; reports the mean loss of each epoch.

Source: MultimediaTechLab/YOLO#83
"""

import random

import torch
import torch.nn as nn

random.seed(0)
torch.manual_seed(0)
IDS, PER_ID, DIM = 20, 12, 16
centres = torch.randn(IDS, DIM)
faces = centres.repeat_interleave(PER_ID, 0) + 0.9 * torch.randn(IDS * PER_ID, DIM)
faces = faces.view(IDS, PER_ID, DIM)


def sample_triplets(n, pool):
    a, p, q = [], [], []
    for _ in range(n):
        i, j = random.sample(range(IDS), 2)
        u, v = random.sample(pool, 2)
        a.append(faces[i, u]), p.append(faces[i, v]), q.append(faces[j, random.choice(pool)])
    return torch.stack(a), torch.stack(p), torch.stack(q)


net = nn.Sequential(nn.Linear(DIM, 32), nn.ReLU(), nn.Linear(32, 8))
criterion = nn.TripletMarginLoss(margin=0.5)
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
train_pool, test_pool = list(range(9)), [9, 10, 11]

total_loss = 0
steps = 0
for epoch in range(4):
    for _ in range(15):
        anchor, positive, negative = sample_triplets(32, train_pool)
        loss = criterion(net(anchor), net(positive), net(negative))
        opt.zero_grad()
        loss.backward()
        opt.step()
        total_loss += loss  # expect: graph-kept-across-steps
        steps += 1
    print(f"epoch {epoch} mean loss so far {total_loss / steps:.4f}")

net.eval()
with torch.no_grad():
    a, p, q = sample_triplets(300, test_pool)
    a, p, q = net(a), net(p), net(q)
    closer = (a - p).norm(dim=1) < (a - q).norm(dim=1)
print("triplets ordered", closer.float().mean().item())
