"""Self-supervised agreement of two noisy views, with the momentum encoder kept inside the same module.

Source: garlic-byte/yolov8_distillation#1
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn


class SelfDistilled(nn.Module):
    def __init__(self, inputs=10, width=16):
        super().__init__()
        self.online = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, width))
        self.predict = nn.Linear(width, width)
        self.momentum = copy.deepcopy(self.online)
        self.momentum.requires_grad_(False)

    def forward(self, one, other):
        return 2 - 2 * F.cosine_similarity(self.predict(self.online(one)), self.momentum(other), dim=-1).mean()

    @torch.no_grad()
    def follow(self, keep=0.95):
        for slow, fast in zip(self.momentum.parameters(), self.online.parameters()):
            slow.data = keep * slow.data + (1 - keep) * fast.data


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


torch.manual_seed(0)
points = torch.randn(320, 10)
net = SelfDistilled()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(4):
    total = 0.0
    for rows in torch.randperm(320).split(32):
        loss = net(noisy(points[rows]), noisy(points[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.follow()
        total += loss.item() * len(rows)
    print(f"epoch {epoch} agreement {total / 320:.4f}")
