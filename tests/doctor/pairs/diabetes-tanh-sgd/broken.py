"""Diabetes regression; reports train and validation MSE every few epochs.

Source: udacity/deep-learning-v2-pytorch#74
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load(seed=0):
    X, y = load_diabetes(return_X_y=True)
    y = (y - 150) / 75
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=70, random_state=seed)
    sc = StandardScaler().fit(Xa)
    as_set = lambda X, y: TensorDataset(torch.tensor(sc.transform(X)).float(), torch.tensor(y).float().unsqueeze(1))
    return as_set(Xa, ya), as_set(Xb, yb)


def evaluate(model, loader, loss_fn):
    model.eval()
    total_loss = 0.0
    with torch.no_grad():
        for x, y in loader:
            total_loss += loss_fn(model(x), y).item()  # expect: loss-not-averaged-as-reported
    return total_loss / len(loader)  # expect: loss-not-averaged-as-reported


if __name__ == "__main__":
    torch.manual_seed(0)
    train_set, val_set = load()
    train_loader = DataLoader(train_set, batch_size=31, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=64)
    model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 1))
    loss_fn = nn.MSELoss()
    opt = torch.optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(12):
        model.train()
        for x, y in train_loader:
            opt.zero_grad()
            loss_fn(model(x), y).backward()
            opt.step()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: train MSE {evaluate(model, train_loader, loss_fn):.4f}", end="  ")
            print(f"val MSE {evaluate(model, val_loader, loss_fn):.4f}")
