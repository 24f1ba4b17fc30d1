"""Batch-hard triplet loss with a hand-written distance matrix.

Source: adambielski/siamese-triplet#18
"""

import torch
from torch import nn

torch.manual_seed(0)
K, P, DIM = 4, 8, 12
centres = torch.randn(30, DIM)


def pk_batch(ids):
    who = ids[torch.randperm(len(ids))[:P]].repeat_interleave(K)
    return centres[who] + 0.8 * torch.randn(len(who), DIM), who


def distances(e):
    sq = (e.unsqueeze(1) - e.unsqueeze(0)).pow(2).sum(-1)
    return sq.sqrt()  # expect: loss-not-finite


def batch_hard(e, who, margin=0.3):
    d = distances(e)
    same = who[:, None] == who[None, :]
    hardest_pos = (d * same).max(1).values
    hardest_neg = (d + 1e3 * same).min(1).values
    return torch.relu(hardest_pos - hardest_neg + margin).mean()


net = nn.Sequential(nn.Linear(DIM, 32), nn.ReLU(), nn.Linear(32, 8))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
train_ids, test_ids = torch.arange(20), torch.arange(20, 30)
for it in range(60):
    x, who = pk_batch(train_ids)
    loss = batch_hard(net(x), who)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 20 == 0:
        print(it, round(loss.item(), 4))

net.eval()
with torch.no_grad():
    x, who = pk_batch(test_ids)
    d = distances(net(x))
    d.fill_diagonal_(float("inf"))
    print("nearest neighbour right", (who[d.argmin(1)] == who).float().mean().item())
