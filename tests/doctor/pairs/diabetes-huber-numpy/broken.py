"""Disease progression from ten measurements, with a hand made robust loss.

Source: weizheliu/People-Flows#7
"""

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)

X, y = load_diabetes(return_X_y=True)
order = rng.permutation(len(X))
X, y = X[order], y[order]
n_train = 350
x_mean, x_std = X[:n_train].mean(0), X[:n_train].std(0)
y_mean, y_std = y[:n_train].mean(), y[:n_train].std()
X = torch.tensor((X - x_mean) / x_std, dtype=torch.float32)
y = torch.tensor((y - y_mean) / y_std, dtype=torch.float32)

train = DataLoader(TensorDataset(X[:n_train], y[:n_train]), batch_size=50, shuffle=True)
X_test, y_test = X[n_train:], y[n_train:]


def huber(pred, target, delta=1.0):
    error = pred.detach().numpy() - target.numpy()  # expect: loss-detached
    small = np.abs(error) <= delta
    loss = np.where(small, 0.5 * error**2, delta * (np.abs(error) - 0.5 * delta))
    return torch.tensor(loss.mean(), requires_grad=True)  # expect: loss-detached


model = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(5):
    model.train()
    for xb, yb in train:
        optimizer.zero_grad()
        loss = huber(model(xb).squeeze(1), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        rmse = (model(X_test).squeeze(1) - y_test).pow(2).mean().sqrt().item() * y_std
    print(f"epoch {epoch}: test RMSE {rmse:.2f}")
