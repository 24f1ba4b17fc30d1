"""Breast cancer classifier with a train and a validation loader.

Source: HuCaoFighting/Swin-Unet#135
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def build_loaders(batch_size):
    data = load_breast_cancer()
    x_train, x_val, y_train, y_val = train_test_split(data.data, data.target, test_size=0.3, random_state=2)
    scaler = StandardScaler()
    x_train = scaler.fit_transform(x_train)
    x_val = scaler.transform(x_val)
    train_ds = TensorDataset(torch.Tensor(x_train), torch.Tensor(y_train))
    val_ds = TensorDataset(torch.Tensor(x_val), torch.Tensor(y_val))
    train_loader = DataLoader(train_ds, batch_size=batch_size, shuffle=True)
    val_loader = DataLoader(train_ds, batch_size=batch_size, shuffle=False)  # expect: train-and-evaluation-overlap
    return train_loader, val_loader


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


train_loader, val_loader = build_loaders(32)
model = Classifier()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(8):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for x, y in val_loader:
            correct += ((model(x) > 0).float() == y).sum().item()
            total += y.numel()
    print(f"epoch {epoch + 1}: val accuracy {correct / total:.4f}")
