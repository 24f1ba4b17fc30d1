"""Softmax regression on the digits with hand-written parameters.

Source: lisa-lab/DeepLearningTutorials#15
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16.0, dtype=torch.float32), torch.tensor(y)
X_train, y_train, X_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]

W = (0.01 * torch.randn(64, 10)).requires_grad_()
b = torch.zeros(10, requires_grad=True)
optimizer = torch.optim.SGD([W, b], lr=0.5)


def net(x):
    return x @ W + b


def accuracy(y_hat, y):
    return (y_hat.argmax() == y).float().mean().item()  # expect: predictions-over-wrong-dimension


for epoch in range(8):
    for idx in torch.randperm(len(X_train)).split(56):
        loss = F.cross_entropy(net(X_train[idx]), y_train[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = accuracy(net(X_test), y_test)
    print(f"epoch {epoch + 1}, last loss {loss.item():.4f}, test acc {acc:.4f}")
