"""Small vision transformer on digits, the patch blocks with activation checkpointing.

Source: victorchall/EveryDream2trainer#172
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.checkpoint import checkpoint

torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(4, dim)
        self.pos = nn.Parameter(0.02 * torch.randn(16, dim))

    def forward(self, images):
        patches = images.unfold(1, 2, 2).unfold(2, 2, 2).reshape(len(images), 16, 4)
        return self.proj(patches) + self.pos


class ViT(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.stem = nn.Sequential(Patches(dim), Block(dim))
        self.block = Block(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, images):
        if self.training:
            x = checkpoint(self.stem, images, use_reentrant=False)
        else:
            x = self.stem(images)
        return self.head(self.block(x).mean(dim=1))


digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train_idx, val_idx = order[:600], order[600:1000]

model = ViT()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(3):
    model.train()
    for idx in train_idx[torch.randperm(len(train_idx))].split(60):
        loss = nn.functional.cross_entropy(model(images[idx]), labels[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = (model(images[val_idx]).argmax(1) == labels[val_idx]).float().mean().item()
    print(f"epoch {epoch}: val acc {acc:.3f}")
