"""Breast cancer MLP with a StandardScaler and a held-out test set.

Source: huseinzol05/Stock-Prediction-Models#126
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=1)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

tensors = [torch.as_tensor(a, dtype=torch.float32) for a in (X_train, X_test, y_train, y_test)]
X_train, X_test, y_train, y_test = tensors
loader = DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
bce = nn.BCEWithLogitsLoss()
opt = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(10):
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        bce(model(xb), yb).backward()
        opt.step()

model.eval()
with torch.no_grad():
    out = model(X_test)
print("test loss", round(bce(out, y_test).item(), 5), "accuracy", ((out > 0) == (y_test > 0.5)).float().mean().item())
