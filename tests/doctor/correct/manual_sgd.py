"""Logistic regression from scratch: own parameters, own update rule, gradients zeroed in place.

Source: pytorch/tutorials nn_tutorial
"""

import math

import torch
from sklearn.datasets import load_digits

torch.manual_seed(2)
d = load_digits()
shuffled = torch.randperm(len(d.target))
x_all, y_all = torch.tensor(d.data, dtype=torch.float32)[shuffled] / 16, torch.tensor(d.target)[shuffled]
x_train, y_train, x_valid, y_valid = x_all[:1400], y_all[:1400], x_all[1400:], y_all[1400:]

weights = torch.randn(64, 10) / math.sqrt(64)
weights.requires_grad_()
bias = torch.zeros(10, requires_grad=True)


def log_softmax(x):
    return x - x.exp().sum(-1).log().unsqueeze(-1)


def model(xb):
    return log_softmax(xb @ weights + bias)


def nll(input, target):
    return -input[range(target.shape[0]), target].mean()


def accuracy(out, yb):
    return (torch.argmax(out, dim=1) == yb).float().mean()


bs, lr, n = 64, 0.5, len(x_train)
for epoch in range(4):
    order = torch.randperm(n)
    for i in range((n - 1) // bs + 1):
        rows = order[i * bs : (i + 1) * bs]
        loss = nll(model(x_train[rows]), y_train[rows])
        loss.backward()
        with torch.no_grad():
            weights -= weights.grad * lr
            bias -= bias.grad * lr
            weights.grad.zero_()
            bias.grad.zero_()
    with torch.no_grad():
        print(
            epoch,
            "valid loss",
            nll(model(x_valid), y_valid).item(),
            "accuracy",
            accuracy(model(x_valid), y_valid).item(),
        )
