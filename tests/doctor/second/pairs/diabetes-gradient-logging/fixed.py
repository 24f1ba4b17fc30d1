"""Regression on the diabetes data that logs the gradient norm of every step.

Source: zhaoyuzhi/deepfillv2#6
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(11)
X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
x_mean, x_std = X_train.mean(0), X_train.std(0)
y_mean, y_std = y_train.mean(), y_train.std()


def to_tensors(X, y):
    X = torch.tensor((X - x_mean) / x_std, dtype=torch.float32)
    y = torch.tensor((y - y_mean) / y_std, dtype=torch.float32)
    return X, y


X_train, y_train = to_tensors(X_train, y_train)
X_test, y_test = to_tensors(X_test, y_test)

model = nn.Sequential(nn.Linear(10, 24), nn.SiLU(), nn.Linear(24, 1), nn.Flatten(0))
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
norms = []
for epoch in range(10):
    for idx in torch.randperm(len(X_train)).split(33):
        optimizer.zero_grad()
        loss = nn.functional.huber_loss(model(X_train[idx]), y_train[idx])
        loss.backward()
        grads = [p.grad for p in model.parameters()]
        norms.append(torch.stack([g.norm() for g in grads]).norm().item())
        optimizer.step()
    if epoch % 3 == 0:
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  |g| {sum(norms) / len(norms):.4f}")
        norms.clear()

model.eval()
with torch.no_grad():
    error = (model(X_test) - y_test).abs().mean().item() * y_std
print("mean absolute error", round(error, 3))
