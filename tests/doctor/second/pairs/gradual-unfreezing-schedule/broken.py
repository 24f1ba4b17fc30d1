"""Two-stage training: head first, then everything with a fresh optimizer and decay.

Source: VAME#26
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
g = torch.Generator().manual_seed(5)
x = torch.randn(700, 16, generator=g)
y = (x[:, :5].abs().argmax(1)).long()
train = DataLoader(TensorDataset(x[:550], y[:550]), batch_size=50, shuffle=True)
xt, yt = x[550:], y[550:]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 5)

    def forward(self, x):
        return self.head(self.backbone(x))


def epoch(model, optimizer):
    model.train()
    for xb, yb in train:
        loss = nn.functional.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


model = Model()
optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)  # expect: scheduler-for-another-optimizer
for e in range(2):
    print("head only", e, round(epoch(model, optimizer), 4))

optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for e in range(6):
    loss = epoch(model, optimizer)
    scheduler.step()
    print("all layers", e, round(loss, 4), "lr", round(optimizer.param_groups[0]["lr"], 6))
model.eval()
with torch.no_grad():
    print("accuracy", (model(xt).argmax(1) == yt).float().mean().item())
