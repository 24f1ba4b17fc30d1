"""Deep residual regressor made from a list of layers.

Source: yaoppeng/U-Net_v2#10
"""

import torch
from torch import nn

torch.manual_seed(0)


class ResidualStack(nn.Module):
    def __init__(self, d=24, depth=4):
        super().__init__()
        self.inp = nn.Linear(4, d)
        self.layers = nn.ModuleList([nn.Linear(d, d) for _ in range(depth)])
        self.out = nn.Linear(d, 1)

    def forward(self, x):
        x = self.inp(x)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.out(x)


x = torch.rand(600, 4) * 2 - 1
y = torch.sin(4 * x[:, :1]) * x[:, 1:2] + x[:, 2:3] ** 2
net = ResidualStack()
print("parameters", sum(p.numel() for p in net.parameters()))
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(8):
    for idx in torch.randperm(480).split(40):
        loss = nn.functional.mse_loss(net(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 2:
        with torch.no_grad():
            print(epoch, round(loss.item(), 5), round(nn.functional.mse_loss(net(x[480:]), y[480:]).item(), 5))
