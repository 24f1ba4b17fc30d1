"""Matrix factorisation for implicit feedback with sampled negatives.

Source: NVIDIA-Merlin/models#1175
"""

import numpy as np
import torch
import torch.nn as nn

rng = np.random.default_rng(7)
torch.manual_seed(7)

n_users, n_items, n_taste = 60, 80, 4
user_taste = rng.integers(0, n_taste, n_users)
item_taste = rng.integers(0, n_taste, n_items)
p = np.where(user_taste[:, None] == item_taste[None, :], 0.6, 0.05)
clicks = rng.random((n_users, n_items)) < p
pos = np.argwhere(clicks)
rng.shuffle(pos)
train_pos, test_pos = pos[:-150], pos[-150:]
seen = np.zeros_like(clicks)
seen[train_pos[:, 0], train_pos[:, 1]] = True


class MF(nn.Module):
    def __init__(self, k=8):
        super().__init__()
        self.user = nn.Embedding(n_users, k)
        self.item = nn.Embedding(n_items, k)
        self.user_bias = nn.Embedding(n_users, 1)
        self.item_bias = nn.Embedding(n_items, 1)
        for emb in (self.user, self.item):
            nn.init.normal_(emb.weight, std=0.1)

    def score(self, u, i):
        dot = (self.user(u) * self.item(i)).sum(-1)
        return dot + self.user_bias(u).squeeze(-1) + self.item_bias(i).squeeze(-1)

    def forward(self, u, i):
        return self.score(u, i).sigmoid()  # expect: sigmoid-before-bce-logits


def sample_epoch():
    neg_u = rng.integers(0, n_users, 2 * len(train_pos))
    neg_i = rng.integers(0, n_items, 2 * len(train_pos))
    keep = ~seen[neg_u, neg_i]
    u = np.concatenate([train_pos[:, 0], neg_u[keep]])
    i = np.concatenate([train_pos[:, 1], neg_i[keep]])
    y = np.concatenate([np.ones(len(train_pos)), np.zeros(keep.sum())])
    order = rng.permutation(len(u))
    return torch.as_tensor(u[order]), torch.as_tensor(i[order]), torch.as_tensor(y[order], dtype=torch.float32)


model = MF()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
loss_function = nn.BCEWithLogitsLoss()

for epoch in range(6):
    model.train()
    u, i, y = sample_epoch()
    losses = []
    for s in range(0, len(u), 128):
        batch = slice(s, s + 128)
        out = model(u[batch], i[batch])
        loss = loss_function(out, y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((loss.item(), len(out)))
    mean = sum(a * b for a, b in losses) / sum(b for _, b in losses)

    # hit rate at 10 over the held-out clicks
    model.eval()
    with torch.no_grad():
        grid = model.score(
            torch.arange(n_users)[:, None].expand(-1, n_items), torch.arange(n_items).expand(n_users, -1)
        )
        top = grid.topk(10, dim=1).indices
    hits = np.mean([i in top[u] for u, i in test_pos.tolist()])
    print(f"epoch {epoch} loss {mean:.4f} HR@10 {hits:.3f}")
