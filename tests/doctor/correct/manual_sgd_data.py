"""A network trained by `p.data` arithmetic with momentum buffers of its own, gradients set to None by hand.

Source: pytorch/examples word_language_model
"""

import torch
import torch.nn as nn

torch.manual_seed(14)
true_w = torch.randn(5, 1)
X = torch.randn(400, 5)
Y = (X @ true_w).tanh() + 0.1 * torch.randn(400, 1)
train_x, train_y, test_x, test_y = X[:300], Y[:300], X[300:], Y[300:]

net = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 1))
velocity = [torch.zeros_like(p) for p in net.parameters()]
learning_rate, momentum = 0.02, 0.9

for t in range(5):
    perm = torch.randperm(300)
    for k in range(0, 300, 50):
        batch = perm[k : k + 50]
        loss = ((net(train_x[batch]) - train_y[batch]) ** 2).mean()
        loss.backward()
        for p, v in zip(net.parameters(), velocity):
            v.mul_(momentum).add_(p.grad.data)
            p.data -= learning_rate * v
            p.grad = None
    with torch.no_grad():
        test = ((net(test_x) - test_y) ** 2).mean()
    print(f"{t}: {loss.item():.4f} {test.item():.4f}")
