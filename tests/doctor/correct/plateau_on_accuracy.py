"""ReduceLROnPlateau watching validation accuracy, mode max.

Source: gnina-torch#57
"""

import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(2)
X, y = load_iris(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(150).tolist()
train_idx, val_idx = perm[:105], perm[105:]
X = (X - X[train_idx].mean(0)) / X[train_idx].std(0)
ds = TensorDataset(X, y)
train_dl = DataLoader(Subset(ds, train_idx), batch_size=15, shuffle=True)
val_dl = DataLoader(Subset(ds, val_idx), batch_size=45)

net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
sched = ReduceLROnPlateau(opt, mode="max", factor=0.5, patience=2)
for epoch in range(12):
    net.train()
    for xb, yb in train_dl:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(xb), yb)
        loss.backward()
        opt.step()
    net.eval()
    hits = 0
    with torch.no_grad():
        for xb, yb in val_dl:
            hits += (net(xb).argmax(1) == yb).sum().item()
    val_acc = hits / len(val_idx)
    sched.step(val_acc)
    print(f"epoch {epoch:2d} | val acc {val_acc:.3f} | lr {opt.param_groups[0]['lr']:.4f}")
