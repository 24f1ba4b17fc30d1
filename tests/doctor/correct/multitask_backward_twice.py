"""Two tasks on a shared trunk, each loss backward on its own before the common step.

Source: facebookresearch/MetaBalance#2
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(9, 32), nn.ReLU())
        self.progress, self.sex = nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.progress(h), self.sex(h)


torch.manual_seed(0)
X, y = load_diabetes(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).unsqueeze(1)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
sex = (X[:, 1:2] > 0).float()
X = torch.cat([X[:, :1], X[:, 2:]], 1)
X = (X - X[:342].mean(0)) / X[:342].std(0)
y = (y - y[:342].mean()) / y[:342].std()
train_dl = DataLoader(TensorDataset(X[:342], y[:342], sex[:342]), batch_size=38, shuffle=True)
model = Shared()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
mse, bce = nn.MSELoss(), nn.BCEWithLogitsLoss()
for epoch in range(6):
    model.train()
    for xb, yb, sb in train_dl:
        optimizer.zero_grad()
        p, s = model(xb)
        loss_p, loss_s = mse(p, yb), bce(s, sb)
        loss_p.backward(retain_graph=True)  # the trunk is needed once more
        loss_s.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        p, s = model(X[342:])
        print(
            f"epoch {epoch}: mse {mse(p, y[342:]).item():.4f}, sex accuracy {((s > 0).float() == sex[342:]).float().mean().item():.3f}"
        )
