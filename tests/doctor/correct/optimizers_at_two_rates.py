"""Two optimizers with different rhythms: embeddings every batch, the dense part every fourth batch.

Source: Lightning-AI/pytorch-lightning#591
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Recommender(nn.Module):
    def __init__(self, users, items, dim=8):
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.dense = nn.Sequential(nn.Linear(2 * dim, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, u, i):
        return self.dense(torch.cat([self.user(u), self.item(i)], 1)).squeeze(1)


torch.manual_seed(13)
n_users, n_items = 40, 30
affinity = torch.randn(n_users, 3) @ torch.randn(3, n_items) / 3**0.5
cells = torch.randperm(n_users * n_items)
u, i = cells // n_items, cells % n_items
rating = affinity[u, i] + 0.1 * torch.randn(len(cells))
train = TensorDataset(u[:960], i[:960], rating[:960])
test = TensorDataset(u[960:], i[960:], rating[960:])

model = Recommender(n_users, n_items)
fast = torch.optim.Adagrad([*model.user.parameters(), *model.item.parameters()], lr=0.1)
slow = torch.optim.Adam(model.dense.parameters(), lr=1e-2)
EVERY = 4

step = 0
for epoch in range(6):
    model.train()
    for uu, ii, rr in DataLoader(train, batch_size=40, shuffle=True):
        loss = nn.functional.mse_loss(model(uu, ii), rr)
        fast.zero_grad()
        loss.backward()
        fast.step()
        step += 1
        if step % EVERY == 0:
            for p in model.dense.parameters():
                p.grad /= EVERY  # the mean over the batches since the last step
            slow.step()
            slow.zero_grad()
    model.eval()
    with torch.no_grad():
        se = sum((model(uu, ii) - rr).pow(2).sum().item() for uu, ii, rr in DataLoader(test, batch_size=120))
    print(f"epoch {epoch}: train {loss.item():.3f} test rmse {(se / len(test)) ** 0.5:.3f}")
