"""A shared encoder in two tasks; each task has its own optimizer over encoder and head.

Source: KevinMusgrave/pytorch-metric-learning#107
"""

import itertools

import torch
from torch import nn, optim

torch.manual_seed(0)
x = torch.randn(500, 10)
rank = x @ torch.randn(10)
group = (x[:, :4].argmax(1)).long()
encoder = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16))
head_a, head_b = nn.Linear(16, 4), nn.Linear(16, 1)
opt_a = optim.Adam(itertools.chain(encoder.parameters(), head_a.parameters()), lr=3e-3)
opt_b = optim.Adam(itertools.chain(encoder.parameters(), head_b.parameters()), lr=1e-3)

for epoch in range(14):
    for i, idx in enumerate(torch.randperm(400).split(40)):
        if i % 2 == 0:
            loss_a = nn.functional.cross_entropy(head_a(encoder(x[idx])), group[idx])
            opt_a.zero_grad()
            loss_a.backward()
            opt_a.step()
        else:
            pred = head_b(encoder(x[idx])).squeeze(1)
            loss_b = nn.functional.smooth_l1_loss(pred, rank[idx])
            opt_b.zero_grad()
            loss_b.backward()
            opt_b.step()
    if epoch % 4 == 1:
        print(epoch, round(loss_a.item(), 4), round(loss_b.item(), 4))
with torch.no_grad():
    h = encoder(x[400:])
    print("acc", (head_a(h).argmax(1) == group[400:]).float().mean().item())
    print("mae", round((head_b(h).squeeze(1) - rank[400:]).abs().mean().item(), 4))
