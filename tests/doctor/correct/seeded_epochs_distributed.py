"""One rank's share by DistributedSampler with set_epoch; everything else is seeded anew by epoch on purpose.

Source: pytorch/pytorch#31771
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

SEED = 2024
torch.manual_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
perm = torch.randperm(len(y))
X, y = torch.tensor(X, dtype=torch.float32)[perm], torch.tensor(y)[perm]
X = (X - X[:400].mean(0)) / X[:400].std(0)
train = TensorDataset(X[:400], y[:400])
sampler = DistributedSampler(train, num_replicas=1, rank=0, shuffle=True, seed=SEED)
loader = DataLoader(train, batch_size=40, sampler=sampler)
model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(4):
    torch.manual_seed(SEED + epoch)  # a run that is resumed at this epoch draws the same numbers
    sampler.set_epoch(epoch)
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = (model(X[400:]).argmax(1) == y[400:]).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f}")
