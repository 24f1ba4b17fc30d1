"""Momentum contrast with a queue of negatives and a key encoder that no optimizer owns.

Source: facebookresearch/moco#70
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
data = torch.randn(20, 12)[torch.randint(0, 20, (480,))] + 0.3 * torch.randn(480, 12)
encoder_q = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16))
encoder_k = copy.deepcopy(encoder_q)
for p in encoder_k.parameters():
    p.requires_grad = False
queue = F.normalize(torch.randn(128, 16), dim=1)
opt = torch.optim.SGD(encoder_q.parameters(), lr=0.1, momentum=0.9)
for epoch in range(4):
    for idx in torch.randperm(480).split(32):
        a, b = (data[idx] + 0.2 * torch.randn(len(idx), 12) for _ in range(2))
        q = F.normalize(encoder_q(a), dim=1)
        with torch.no_grad():
            for pk, pq in zip(encoder_k.parameters(), encoder_q.parameters()):
                pk.mul_(0.97).add_(pq, alpha=0.03)
            k = F.normalize(encoder_k(b), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.t()], 1) / 0.2
        loss = F.cross_entropy(logits, torch.zeros(len(idx), dtype=torch.long))  # the positive comes first
        opt.zero_grad()
        loss.backward()
        opt.step()
        queue = torch.cat([queue[len(idx) :], k])
    top1 = (logits.argmax(1) == 0).float().mean().item()
    print(f"{epoch} loss {loss.item():.4f} instance accuracy {top1:.4f}")
