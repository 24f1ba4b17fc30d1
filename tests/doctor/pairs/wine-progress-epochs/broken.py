"""Wine classifier that keeps a list of losses for plotting later.

Source: nicknochnack/PyTorchin15#4
"""

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(10)
raw = load_wine()
order = torch.randperm(178)
X = torch.tensor(raw.data, dtype=torch.float32)[order]
y = torch.tensor(raw.target)[order]
mu, sigma = X[:140].mean(0), X[:140].std(0)
X = (X - mu) / sigma
dataset = DataLoader(TensorDataset(X[:140], y[:140]), 16, shuffle=True)

clf = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
opt = Adam(clf.parameters(), lr=1e-2)
loss_fn = nn.CrossEntropyLoss()

if __name__ == "__main__":
    history = []
    for epoch in range(6):
        clf.train()
        for batch in dataset:
            xb, yb = batch
            loss = loss_fn(clf(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        history.append(loss.item())  # expect: loss-not-averaged-as-reported
        print(f"Epoch {epoch} loss is {history[-1]:.4f}")

    clf.eval()
    with torch.no_grad():
        print("test accuracy", (clf(X[140:]).argmax(1) == y[140:]).float().mean().item())
