"""Trade compute for memory with activation checkpointing, reentrant and not, in a deep MLP.

Source: victorchall/EveryDream2trainer#172
"""

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x):
        return x + self.ff(self.norm(x))


class DeepNet(nn.Module):
    def __init__(self, width=24, depth=6):
        super().__init__()
        self.stem = nn.Linear(7, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.tail = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, x):
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            if self.training:
                x = checkpoint(block, x, use_reentrant=i % 2 == 0)
            else:
                x = block(x)
        return checkpoint_sequential(self.tail, 2, x, use_reentrant=False)


torch.manual_seed(0)
x = torch.randn(500, 7)
y = (x[:, 0] * x[:, 1] + x[:, 2].sin()).unsqueeze(1)
train_loader = DataLoader(TensorDataset(x[:400], y[:400]), batch_size=40, shuffle=True)
net = DeepNet()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
for epoch in range(5):
    net.train()
    total = 0.0
    for xb, yb in train_loader:
        loss = nn.functional.mse_loss(net(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    net.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(net(x[400:]), y[400:]).item()
    print(f"[{epoch}] train {total / 400:.4f} val {val:.4f}")
