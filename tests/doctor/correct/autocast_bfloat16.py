"""bfloat16 autocast without a scaler, float32 weights, gradient clipping straight after backward.

Source: milesial/Pytorch-UNet#468
"""

import contextlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

USE_AMP = True
torch.manual_seed(0)
ctx = torch.autocast("cpu", dtype=torch.bfloat16) if USE_AMP else contextlib.nullcontext()
scaler = torch.amp.GradScaler("cpu", enabled=False)  # a scaler that does nothing keeps one code path

t = torch.linspace(0, 6.28, 32)
freq = torch.randint(1, 5, (500,))
x = (freq[:, None] * t + torch.rand(500, 1) * 6.28).sin().unsqueeze(1) + 0.3 * torch.randn(500, 1, 32)
y = freq - 1
train, test = TensorDataset(x[:384], y[:384]), TensorDataset(x[384:], y[384:])

net = nn.Sequential(
    nn.Conv1d(1, 16, 7, padding=3),
    nn.GELU(),
    nn.MaxPool1d(2),
    nn.Conv1d(16, 16, 5, padding=2),
    nn.GELU(),
    nn.Flatten(),
    nn.Linear(256, 4),
)
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
for epoch in range(4):
    net.train()
    for xb, yb in DataLoader(train, batch_size=32, shuffle=True):
        optimizer.zero_grad(set_to_none=True)
        with ctx:
            loss = nn.functional.cross_entropy(net(xb), yb)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    net.eval()
    hits = 0
    with torch.no_grad(), ctx:
        for xb, yb in DataLoader(test, batch_size=58):
            hits += (net(xb).argmax(1) == yb).sum().item()
    print(f"epoch {epoch} loss {loss.item():.3f} acc {hits / len(test):.3f}")
