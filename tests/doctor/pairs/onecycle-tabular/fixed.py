"""Superconvergence on a tabular problem with OneCycleLR.

Source: pytorch/pytorch#65417
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
EPOCHS = 8

X, y = load_breast_cancer(return_X_y=True)
Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.25, random_state=0)
sc = StandardScaler().fit(Xa)
train_dataloader = DataLoader(
    TensorDataset(torch.tensor(sc.transform(Xa)).float(), torch.tensor(ya)), batch_size=32, shuffle=True
)
Xb, yb = torch.tensor(sc.transform(Xb)).float(), torch.tensor(yb)

model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=0.1, steps_per_epoch=len(train_dataloader), epochs=EPOCHS
)
criterion = nn.CrossEntropyLoss()

for epoch in range(EPOCHS):
    model.train()
    running, n = 0.0, 0
    for inputs, targets in train_dataloader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        lr_scheduler.step()
        running += loss.item() * len(targets)
        n += len(targets)

    model.eval()
    with torch.no_grad():
        acc = (model(Xb).argmax(1) == yb).float().mean().item()
    print(f"epoch {epoch}: lr {optimizer.param_groups[0]['lr']:.5f} loss {running / n:.4f} acc {acc:.4f}")
