"""Siamese matcher: are two noisy signatures of the same writer?

Source: NVIDIA-Merlin/models#1175
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader


@dataclass
class Config:
    writers: int = 30
    dim: int = 20
    noise: float = 0.7
    pairs: int = 640
    batch: int = 40
    epochs: int = 5
    lr: float = 3e-3


cfg = Config()
torch.manual_seed(0)
styles = torch.randn(cfg.writers, cfg.dim)


def make_pairs(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.randint(0, cfg.writers, (n,), generator=g)
    same = torch.rand(n, generator=g) < 0.5
    b = torch.where(same, a, (a + torch.randint(1, cfg.writers, (n,), generator=g)) % cfg.writers)
    noise = lambda: cfg.noise * torch.randn(n, cfg.dim, generator=g)
    return styles[a] + noise(), styles[b] + noise(), same.float()


class Pairs(torch.utils.data.Dataset):
    def __init__(self, n, seed):
        self.left, self.right, self.same = make_pairs(n, seed)

    def __len__(self):
        return len(self.same)

    def __getitem__(self, i):
        return {"left": self.left[i], "right": self.right[i], "same": self.same[i]}


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(cfg.dim, 48), nn.ReLU(), nn.Linear(48, 24))
        self.score = nn.Linear(24, 1)

    def forward(self, left, right):
        gap = (self.embed(left) - self.embed(right)).abs()
        return self.score(gap).squeeze(-1)


net = Siamese()
optimizer = torch.optim.AdamW(net.parameters(), lr=cfg.lr)
loss_fn = nn.BCEWithLogitsLoss()
train = DataLoader(Pairs(cfg.pairs, 0), batch_size=cfg.batch, shuffle=True)
test = Pairs(300, 1)
for epoch in range(cfg.epochs):
    for batch in train:
        loss = loss_fn(net(batch["left"], batch["right"]), batch["same"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, round(loss.item(), 4))

net.eval()
with torch.no_grad():
    s = net(test.left, test.right)
    print("test loss", round(loss_fn(s, test.same).item(), 4))
    print(
        "mean score same/different",
        round(s[test.same == 1].mean().item(), 3),
        round(s[test.same == 0].mean().item(), 3),
    )
