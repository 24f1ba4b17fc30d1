"""Sparse mixture of experts; in some batches an expert gets nothing and has no gradient.

Source: pytorch/torchtitan#1258
"""

import torch
from torch import nn

torch.manual_seed(0)


class MoE(nn.Module):
    def __init__(self, d_in, d_out, experts=5):
        super().__init__()
        self.gate = nn.Linear(d_in, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(d_in, 16), nn.ReLU(), nn.Linear(16, d_out)) for _ in range(experts)
        )

    def forward(self, x):
        weight, which = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 1)
        for k, expert in enumerate(self.experts):
            mine = which == k
            if mine.any():
                out[mine] = expert(x[mine]) * weight[mine, None]
        return out, which


x = torch.randn(500, 4)
y = torch.where(x[:, :1] > 0, x[:, 1:2] ** 2, -x[:, 2:3])
net = MoE(4, 1)
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(6):
    for idx in torch.randperm(400).split(16):
        out, which = net(x[idx])
        loss = nn.functional.mse_loss(out, y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4), "used", which.unique().tolist())
with torch.no_grad():
    print("test", round(nn.functional.mse_loss(net(x[400:])[0], y[400:]).item(), 4))
