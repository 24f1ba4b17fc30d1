"""Predict disease progression (diabetes data) with an MLP.

Source: Photon-AI-Research/NeuralSolvers#20
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_diabetes(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=1)

x_scaler = StandardScaler().fit(X_train)
y_mean, y_std = y_train.mean(), y_train.std()


def to_ds(X, y):
    return TensorDataset(
        torch.tensor(x_scaler.transform(X), dtype=torch.float32),
        torch.tensor((y - y_mean) / y_std, dtype=torch.float32),
    )


train_dl = DataLoader(to_ds(X_train, y_train), batch_size=32, shuffle=True)
val_dl = DataLoader(to_ds(X_val, y_val), batch_size=64)

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)


def train_one_epoch():
    model.train()
    total = 0.0
    for xb, yb in train_dl:
        pred = model(xb)
        loss = loss_fn(pred, yb)  # expect: loss-broadcast
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    return total / len(train_dl.dataset)


@torch.no_grad()
def validate():
    model.eval()
    se = 0.0
    for xb, yb in val_dl:
        se += ((model(xb).squeeze(1) - yb) ** 2).sum().item()
    return (se / len(val_dl.dataset)) ** 0.5 * y_std


for epoch in range(12):
    train_loss = train_one_epoch()
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1}  train {train_loss:.4f}  val rmse {validate():.2f}")
