"""Matrix factorization on synthetic ratings with accumulated micro-batches.

Source: zhaoyuzhi/deepfillv2#6
"""

import torch
import torch.nn as nn


class MF(nn.Module):
    def __init__(self, n_users, n_items, rank=8):
        super().__init__()
        self.user = nn.Embedding(n_users, rank)
        self.item = nn.Embedding(n_items, rank)
        self.user_bias = nn.Embedding(n_users, 1)
        self.item_bias = nn.Embedding(n_items, 1)
        self.mean = nn.Parameter(torch.zeros(1))
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.user_bias, self.item_bias):
            nn.init.zeros_(e.weight)

    def forward(self, u, i):
        dot = (self.user(u) * self.item(i)).sum(-1)
        return dot + self.user_bias(u).squeeze(-1) + self.item_bias(i).squeeze(-1) + self.mean


def make_ratings(n, g):
    u = torch.randint(0, 80, (n,), generator=g)
    i = torch.randint(0, 60, (n,), generator=g)
    p, q = torch.randn(80, 4, generator=g), torch.randn(60, 4, generator=g)
    r = 3 + (p[u] * q[i]).sum(-1) * 0.5 + 0.2 * torch.randn(n, generator=g)
    return u, i, r.clamp(1, 5)


def batches(u, i, r, size):
    for idx in torch.randperm(len(u)).split(size):
        yield u[idx], i[idx], r[idx]


torch.manual_seed(0)
u, i, r = make_ratings(3200, torch.Generator().manual_seed(42))
cut = 2560
model = MF(80, 60)
opt = torch.optim.Adam(model.parameters(), lr=0.03, weight_decay=1e-5)
accumulation_steps = 2
for epoch in range(5):
    opt.zero_grad()
    sse = 0.0
    for n, (bu, bi, br) in enumerate(batches(u[:cut], i[:cut], r[:cut], 128)):
        loss = nn.functional.mse_loss(model(bu, bi), br)
        sse += loss.item() * len(br)
        (loss / accumulation_steps).backward()  # expect: step-never-called
        if n % accumulation_steps == accumulation_steps:  # expect: step-never-called
            opt.step()
            opt.zero_grad()
    with torch.no_grad():
        test = nn.functional.mse_loss(model(u[cut:], i[cut:]), r[cut:]).sqrt()
    print(f"epoch {epoch} train rmse {(sse / cut) ** 0.5:.4f} test rmse {test:.4f}")
