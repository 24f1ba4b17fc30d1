"""Classify small 2-D point sets (circle, square, cross) with a PointNet-like network.

Source: yanx27/Pointnet_Pointnet2_pytorch#30
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(11)


def sample_shape(kind, n=32):
    t = torch.rand(n)
    if kind == 0:
        pts = torch.stack([torch.cos(2 * math.pi * t), torch.sin(2 * math.pi * t)], 1)
    elif kind == 1:
        side = torch.randint(4, (n,))
        a = 2 * t - 1
        one = torch.ones(n)
        xs = torch.where(side == 0, a, torch.where(side == 1, a, torch.where(side == 2, one, -one)))
        ys = torch.where(side == 0, one, torch.where(side == 1, -one, a))
        pts = torch.stack([xs, ys], 1)
    else:
        a = 2 * t - 1
        flip = torch.rand(n) < 0.5
        pts = torch.stack([a, torch.where(flip, a, -a)], 1)
    return pts + 0.05 * torch.randn(n, 2)


def build(n):
    y = torch.randint(3, (n,))
    return torch.stack([sample_shape(int(k)) for k in y]), y


class PointNetCls(nn.Module):
    def __init__(self, k=3):
        super().__init__()
        self.conv1 = nn.Conv1d(2, 32, 1)
        self.conv2 = nn.Conv1d(32, 64, 1)
        self.bn1 = nn.BatchNorm1d(32)
        self.bn2 = nn.BatchNorm1d(64)
        self.fc = nn.Linear(64, k)

    def forward(self, pts):
        x = pts.transpose(2, 1)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x)).max(dim=2)[0]
        return self.fc(x)


class GetLoss(nn.Module):
    def forward(self, pred, target):
        return F.nll_loss(pred, target)  # expect: probabilities-expected


train_x, train_y = build(360)
test_x, test_y = build(120)
classifier = PointNetCls()
criterion = GetLoss()
optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3, weight_decay=1e-4)

for epoch in range(6):
    classifier.train()
    perm = torch.randperm(len(train_x))
    total = 0.0
    for idx in perm.split(24):
        optimizer.zero_grad()
        pred = classifier(train_x[idx])
        loss = criterion(pred, train_y[idx])  # expect: probabilities-expected
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    classifier.eval()
    with torch.no_grad():
        acc = (classifier(test_x).max(1)[1] == test_y).float().mean().item()
    print(f"[{epoch}] train loss: {total / len(train_x):.4f}  test accuracy: {acc:.4f}")
