"""Exponential moving average of the weights, buffers copied, evaluated instead of the raw model.

Source: lucidrains/ema-pytorch#8
"""

import copy

import torch
from torch import nn

torch.manual_seed(0)


class EMA:
    def __init__(self, model, decay):
        self.decay = decay
        self.module = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for e, p in zip(self.module.parameters(), model.parameters()):
            e.lerp_(p, 1 - self.decay)
        for e, b in zip(self.module.buffers(), model.buffers()):
            e.copy_(b)


x = torch.randn(600, 8)
y = (x[:, 0] * x[:, 1] > 0).long()
y_noisy = torch.where(torch.rand(600) < 0.1, 1 - y, y)
net = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 2))
ema = EMA(net, 0.95)
opt = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
for epoch in range(8):
    net.train()
    for idx in torch.randperm(480).split(32):
        loss = nn.functional.cross_entropy(net(x[idx]), y_noisy[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        ema.update(net)
    net.eval()
    with torch.no_grad():
        raw, avg = ((m(x[480:]).argmax(1) == y[480:]).float().mean().item() for m in (net, ema.module))
    print(f"{epoch} loss {loss.item():.4f} raw {raw:.4f} ema {avg:.4f}")
