"""Vector-quantised autoencoder with the straight-through estimator.

Source: pytorch-vq-vae#2
"""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.randn(8, 6)[torch.randint(0, 8, (600,))] + 0.1 * torch.randn(600, 6)


class VQ(nn.Module):
    def __init__(self, codes=16, d=4):
        super().__init__()
        self.enc, self.dec = nn.Linear(6, d), nn.Sequential(nn.Linear(d, 24), nn.ReLU(), nn.Linear(24, 6))
        self.book = nn.Embedding(codes, d)

    def forward(self, x):
        z = self.enc(x)
        code = torch.cdist(z, self.book.weight).argmin(1)
        e = self.book(code)
        commit = F.mse_loss(z, e.detach())
        book = F.mse_loss(e, z.detach())
        q = z + (e - z).detach()  # the gradient passes by the table
        return self.dec(q), book + 0.25 * commit, code


net = VQ()
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(8):
    for idx in torch.randperm(500).split(50):
        y, extra, code = net(x[idx])
        loss = F.mse_loss(y, x[idx]) + extra
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 2:
        print(epoch, round(loss.item(), 4), "codes in use", len(code.unique()))
with torch.no_grad():
    print("held-out mse", round(F.mse_loss(net(x[500:])[0], x[500:]).item(), 4))
