"""Fraud detection with few positives and a weighted sampler.

Source: FGA-DIKU/BONSAI#254
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

torch.manual_seed(0)
rng = np.random.default_rng(0)
n = 1500
X = rng.normal(size=(n, 6)).astype(np.float32)
y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n) > 1.9).astype(np.int64)
train_x, train_y, test_x, test_y = X[:1100], y[:1100], X[1100:], y[1100:]

class_count = np.bincount(train_y)
class_weights = 1.0 / torch.tensor(class_count, dtype=torch.float)
sampler = WeightedRandomSampler(class_weights[train_y], len(train_y), replacement=True)
train_loader = DataLoader(
    TensorDataset(torch.from_numpy(train_x), torch.from_numpy(train_y)), batch_size=50, sampler=sampler
)

model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(4):
    total = 0.0
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(yb)
    print(f"epoch {epoch} loss {total / len(train_y):.5f}")
with torch.no_grad():
    pred = model(torch.from_numpy(test_x)).argmax(1).numpy()
recall = (pred[test_y == 1] == 1).mean()
specificity = (pred[test_y == 0] == 0).mean()
print("recall", round(float(recall), 4), "specificity", round(float(specificity), 4))
