"""Five-fold cross-validation on the breast cancer data, a fresh net for each fold.

Source: spro/practical-pytorch#9
"""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import nn, optim

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X, y = X.astype(np.float32), y.astype(np.float32)


def build():
    return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))


model = build()
optimizer = optim.Adam(model.parameters(), lr=0.01)  # expect: optimizer-holds-stale-parameters
criterion = nn.BCEWithLogitsLoss()
scores = []
folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
for fold, (tr, te) in enumerate(folds.split(X, y)):
    scaler = StandardScaler().fit(X[tr])
    X_tr, X_te = torch.from_numpy(scaler.transform(X[tr])), torch.from_numpy(scaler.transform(X[te]))
    y_tr, y_te = torch.from_numpy(y[tr]), torch.from_numpy(y[te])
    model = build()
    for epoch in range(3):
        for idx in torch.randperm(len(X_tr)).split(32):
            model.zero_grad()
            loss = criterion(model(X_tr[idx]).squeeze(1), y_tr[idx])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        acc = ((model(X_te).squeeze(1) > 0).float() == y_te).float().mean().item()
    scores.append(acc)
    print(f"fold {fold}: loss {loss.item():.4f} acc {acc:.4f}")
print("mean", round(float(np.mean(scores)), 4), "std", round(float(np.std(scores)), 4))
