"""Batch-norm statistics are measured anew in train mode, without gradients, before the test.

Source: pgniewko/gt-pyg#112
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(640, 1, 6, 6)
y = (x[:, 0, 1:3, 1:3].sum((1, 2)) > x[:, 0, 3:5, 3:5].sum((1, 2))).long()
train_set = TensorDataset(x[:512], y[:512])
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 2)
)
opt = torch.optim.Adam(net.parameters(), lr=0.02)


def recalibrate(model, loader):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None  # a plain average
    model.train()
    with torch.no_grad():
        for xb, _ in loader:
            model(xb)


for epoch in range(3):
    net.train()
    for xb, yb in DataLoader(train_set, batch_size=8, shuffle=True):
        loss = nn.functional.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
recalibrate(net, DataLoader(train_set, batch_size=128))
net.eval()
with torch.no_grad():
    out = net(x[512:])
print(
    "test", round(nn.functional.cross_entropy(out, y[512:]).item(), 4), (out.argmax(1) == y[512:]).float().mean().item()
)
