"""Handwritten digits with a two layer network, exported from a notebook.

Source: wenet-e2e/wekws#72
"""

# %%
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1234)

# %% load the data
digits = load_digits()
X = torch.tensor(digits.data, dtype=torch.float32) / 16.0
y = torch.tensor(digits.target)
perm = torch.randperm(len(X))
train_idx, test_idx = perm[:1400], perm[1400:]
train_dl = DataLoader(TensorDataset(X[train_idx], y[train_idx]), batch_size=50, shuffle=True)
test_dl = DataLoader(TensorDataset(X[test_idx], y[test_idx]), batch_size=200)

# %% model
model = nn.Sequential(
    nn.Linear(64, 48),
    nn.ReLU(),
    nn.Linear(48, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

# %% train
for epoch in range(4):
    model.train()
    running, seen = 0.0, 0
    for xb, yb in train_dl:
        optimizer.zero_grad()
        out = model(xb)
        loss = F.cross_entropy(out, yb)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(xb)
        seen += len(xb)
    print(f"epoch {epoch + 1}: loss {running / seen:.4f}")

# %% test
model.eval()
hits = 0
with torch.no_grad():
    for xb, yb in test_dl:
        hits += (model(xb).argmax(dim=1) == yb).sum().item()
print(f"test accuracy {hits / len(test_idx):.3f}")
