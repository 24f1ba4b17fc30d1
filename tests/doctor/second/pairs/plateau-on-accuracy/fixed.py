"""Digits MLP whose learning rate is cut when the validation accuracy stalls.

Source: selene#115
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.optim.lr_scheduler import ReduceLROnPlateau

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X / 16, y, test_size=0.25, random_state=0)
X_train, X_val = torch.tensor(X_train).float(), torch.tensor(X_val).float()
y_train, y_val = torch.tensor(y_train), torch.tensor(y_val)

model = nn.Sequential(nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10))
optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
scheduler = ReduceLROnPlateau(optimizer, mode="max", factor=0.2, patience=1)

for epoch in range(10):
    model.train()
    for idx in torch.randperm(len(X_train)).split(64):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X_train[idx]), y_train[idx])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_acc = (model(X_val).argmax(1) == y_val).float().mean().item()
    scheduler.step(val_acc)
    print(f"epoch {epoch} loss {loss.item():.4f} val_acc {val_acc:.4f} lr {optimizer.param_groups[0]['lr']:g}")
