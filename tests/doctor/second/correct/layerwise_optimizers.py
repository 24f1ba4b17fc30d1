"""One optimizer per layer, stepped from a hook as soon as the layer's gradient is there.

Source: pytorch/tutorials#2568
"""

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
optimizers = {p: torch.optim.SGD([p], lr=0.02, momentum=0.9) for p in net.parameters()}


def step_now(p):
    optimizers[p].step()
    optimizers[p].zero_grad()


for p in net.parameters():
    p.register_post_accumulate_grad_hook(step_now)

x = torch.randn(600, 6)
y = (x[:, :1] * x[:, 1:2]).clamp(-2, 2)
for epoch in range(6):
    for idx in torch.randperm(500).split(50):
        loss = nn.functional.mse_loss(net(x[idx]), y[idx])
        loss.backward()  # the updates happen in here
    print(epoch, round(loss.item(), 4))
with torch.no_grad():
    print("test", round(nn.functional.mse_loss(net(x[500:]), y[500:]).item(), 4))
