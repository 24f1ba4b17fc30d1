"""Segment small objects with a focal loss on logits plus a soft dice loss on sigmoid outputs, both by hand.

Source: qubvel-org/segmentation_models.pytorch losses
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def focal_loss(logits, target, gamma=2.0, alpha=0.75):
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p_t = torch.exp(-bce)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * (1 - p_t) ** gamma * bce).mean()


def dice_loss(logits, target, eps=1.0):
    p = torch.sigmoid(logits).flatten(1)
    t = target.flatten(1)
    return (1 - (2 * (p * t).sum(1) + eps) / (p.sum(1) + t.sum(1) + eps)).mean()


def scenes(n, size=14):
    mask = torch.zeros(n, 1, size, size)
    for m in mask:
        for r, c in torch.randint(0, size - 3, (2, 2)).tolist():
            m[0, r : r + 3, c : c + 3] = 1
    return mask * 0.8 + 0.4 * torch.randn_like(mask), mask


torch.manual_seed(0)
x, y = scenes(160)
vx, vy = scenes(40)
net = nn.Sequential(
    nn.Conv2d(1, 10, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(10, 10, 3, padding=2, dilation=2),
    nn.ReLU(),
    nn.Conv2d(10, 1, 1),
)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
for epoch in range(4):
    net.train()
    for xb, yb in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        logits = net(xb)
        loss = focal_loss(logits, yb) + dice_loss(logits, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        out = net(vx)
    hit = (torch.sigmoid(out) > 0.5) & (vy > 0.5)
    dice = 2 * hit.sum() / ((out > 0).sum() + vy.sum())
    print(f"epoch {epoch} loss {loss.item():.4f} val dice {dice.item():.4f}")
