"""Set scorer with scaled dot product attention and attention dropout.

Source: meta-pytorch/torchtune#1049
"""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class SelfAttention(nn.Module):
    def __init__(self, d, heads, p):
        super().__init__()
        self.heads, self.p = heads, p
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0)
        return self.out(y.transpose(1, 2).reshape(b, n, d))


class PointScorer(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.inp = nn.Linear(2, d)
        self.attn = SelfAttention(d, 4, 0.2)
        self.head = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))

    def forward(self, points):
        h = self.inp(points)
        h = h + self.attn(h)
        return self.head(h.mean(1)).squeeze(-1)


def problems(n):
    p = torch.randn(n, 8, 2)
    return p, torch.cdist(p, p).mean((1, 2)) - 1.5


x, y = problems(600)
tx, ty = problems(200)
net = PointScorer()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
for epoch in range(6):
    net.train()
    for idx in torch.randperm(600).split(60):
        loss = F.mse_loss(net(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        print(f"epoch {epoch} train {loss.item():.4f} test {F.mse_loss(net(tx), ty).item():.5f}")
