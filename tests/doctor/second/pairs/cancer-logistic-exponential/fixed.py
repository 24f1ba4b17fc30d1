"""Logistic regression on breast cancer with an exponential schedule stepped every update.

Source: optuna/optuna#1725
"""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn, optim

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
mu, sigma = X_train.mean(0), X_train.std(0)
X_train = torch.tensor((X_train - mu) / sigma, dtype=torch.float32)
X_test = torch.tensor((X_test - mu) / sigma, dtype=torch.float32)
y_train, y_test = torch.tensor(y_train).float(), torch.tensor(y_test).float()

model = nn.Linear(30, 1)
optimizer = optim.SGD(model.parameters(), lr=0.5)
scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.8)
for epoch in range(8):
    for idx in torch.randperm(len(X_train)).split(len(X_train)):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(X_train[idx]).squeeze(1), y_train[idx])
        loss.backward()
        optimizer.step()
        scheduler.step()
    print(f"{epoch} loss {loss.item():.5f}")
with torch.no_grad():
    print("accuracy", ((model(X_test).squeeze(1) > 0).float() == y_test).float().mean().item())
