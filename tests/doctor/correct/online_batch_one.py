"""Online learning: a stream of single examples, each predicted first and learnt from afterwards.

Source: online-ml/deep-river
"""

import torch
from torch import nn


def stream(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(6, generator=g)
    for t in range(n):
        w = w + 0.01 * torch.randn(6, generator=g)  # the concept drifts
        x = torch.randn(1, 6, generator=g)
        yield x, (x @ w > 0).float().view(1, 1)


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
criterion = nn.BCEWithLogitsLoss()

correct, window = 0, []
for i, (x, y) in enumerate(stream(500), 1):
    logit = model(x)
    hit = ((logit > 0).float() == y).item()
    correct += hit
    window.append(hit)

    loss = criterion(logit, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if i % 100 == 0:
        print(f"{i:5d} examples: accuracy so far {correct / i:.3f}, last hundred {sum(window[-100:]) / 100:.2f}")
