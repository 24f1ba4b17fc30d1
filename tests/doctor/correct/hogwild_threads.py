"""Hogwild: two threads update one shared model without locks, each with an optimizer and a copy for gradients.

Source: pytorch/examples mnist_hogwild
"""

import copy
import threading

import torch
from sklearn.datasets import load_iris
from torch import nn

torch.manual_seed(0)
X, y = load_iris(return_X_y=True)
perm = torch.randperm(150)
X, y = torch.tensor(X, dtype=torch.float32)[perm], torch.tensor(y)[perm]
X = (X - X[:100].mean(0)) / X[:100].std(0)
shared = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
shared.share_memory()


def work(rank, model, steps):
    g = torch.Generator().manual_seed(rank)
    local = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        local.load_state_dict(model.state_dict())
        rows = torch.randint(0, 100, (20,), generator=g)
        local.zero_grad()
        nn.functional.cross_entropy(local(X[rows]), y[rows]).backward()
        for mine, ours in zip(local.parameters(), model.parameters()):
            ours.grad = mine.grad.clone()
        optimizer.step()


def test(model):
    model.eval()
    with torch.no_grad():
        out = model(X[100:])
        return nn.functional.cross_entropy(out, y[100:]).item(), (out.argmax(1) == y[100:]).float().mean().item()


print("before: loss %.4f accuracy %.2f" % test(shared))
for epoch in range(3):
    # one worker after the other finishes its share here, so that the numbers stay the same
    for rank in range(2):
        thread = threading.Thread(target=work, args=(10 * epoch + rank, shared, 25))
        thread.start()
        thread.join()
    print("epoch %d" % epoch, "loss %.4f accuracy %.2f" % test(shared))
