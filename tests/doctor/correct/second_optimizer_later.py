"""Two-stage training: only the head at first; the optimizer of the backbone is made when its stage begins.

Source: fastai-style gradual fine-tuning
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.backbone(x))


torch.manual_seed(19)
W = torch.randn(12, 4)
X = torch.randn(720, 12)
Y = (X.abs() @ W).argmax(1)
train_loader = DataLoader(TensorDataset(X[:600], Y[:600]), batch_size=50, shuffle=True)
model = Model()
criterion = nn.CrossEntropyLoss()
head_optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-2)
backbone_optimizer = None

for epoch in range(8):
    if epoch == 3:
        print("backbone joins")
        backbone_optimizer = torch.optim.Adam(model.backbone.parameters(), lr=3e-3)
    optimizers = [o for o in (head_optimizer, backbone_optimizer) if o is not None]
    model.train()
    for x, y in train_loader:
        model.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        for o in optimizers:
            o.step()
    model.eval()
    with torch.no_grad():
        acc = (model(X[600:]).argmax(1) == Y[600:]).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.3f} acc {acc:.3f}")
