"""Early stopping with patience; the best weights are copied deeply and loaded back at the end.

Source: pytorch/tutorials#188
"""

import copy

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience=4, min_delta=0.0):
        self.patience, self.min_delta = patience, min_delta
        self.best_loss, self.best_weights, self.waited = float("inf"), None, 0

    def __call__(self, loss, model):
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.waited = loss, 0
            self.best_weights = copy.deepcopy(model.state_dict())
        else:
            self.waited += 1
        return self.waited >= self.patience


torch.manual_seed(0)
X, y = load_diabetes(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(X, y.reshape(-1, 1), test_size=0.2, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=0.25, random_state=0)
sx, sy = StandardScaler().fit(X_train), StandardScaler().fit(y_train)
t = lambda a: torch.tensor(a, dtype=torch.float32)
train_loader = DataLoader(
    TensorDataset(t(sx.transform(X_train)), t(sy.transform(y_train))), batch_size=24, shuffle=True
)
val = t(sx.transform(X_val)), t(sy.transform(y_val))
test = t(sx.transform(X_test)), t(sy.transform(y_test))

model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = nn.MSELoss()
stopper = EarlyStopping()


def measure(x, y):
    model.eval()
    with torch.no_grad():
        return loss_fn(model(x), y).item()


for epoch in range(60):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss_fn(model(xb), yb).backward()
        optimizer.step()
    val_loss = measure(*val)
    if stopper(val_loss, model):
        print(f"stopped after epoch {epoch}, val loss {val_loss:.4f}, best {stopper.best_loss:.4f}")
        break

print("last weights, test mse", round(measure(*test), 4))
model.load_state_dict(stopper.best_weights)
print("best weights, test mse", round(measure(*test), 4))
