"""Softmax regression from scratch with gradients from autograd and a hand-written momentum step.

Source: spro/practical-pytorch#9
"""

import torch
from sklearn.datasets import load_iris

torch.manual_seed(0)
X, y = load_iris(return_X_y=True)
order = torch.randperm(150)
X, y = torch.tensor(X, dtype=torch.float32)[order], torch.tensor(y)[order]
X = (X - X[:110].mean(0)) / X[:110].std(0)

# a single layer has no symmetry to break, zeros are fine
W = torch.zeros(4, 3, requires_grad=True)
b = torch.zeros(3, requires_grad=True)
velocity = [torch.zeros_like(W), torch.zeros_like(b)]
lr, mu = 0.3, 0.8

for epoch in range(8):
    for idx in torch.randperm(110).split(22):
        scores = X[idx] @ W + b
        log_p = scores - scores.logsumexp(1, keepdim=True)
        loss = -log_p[torch.arange(len(idx)), y[idx]].mean()
        loss.backward()
        with torch.no_grad():
            for p, v in zip((W, b), velocity):
                v.mul_(mu).add_(p.grad)
                p -= lr * v
                p.grad = None
    with torch.no_grad():
        acc = ((X[110:] @ W + b).argmax(1) == y[110:]).float().mean().item()
    if epoch % 2:
        print(f"epoch {epoch} loss {loss.item():.4f} test acc {acc:.4f}")
