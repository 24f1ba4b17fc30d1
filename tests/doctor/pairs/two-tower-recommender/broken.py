"""Two tower recommender: the towers take turns, users on even and items on odd steps.

Source: wangle53/CSA-CDGAN#5
"""

import torch
import torch.nn.functional as F
from torch import nn, optim

torch.manual_seed(9)

n_users, n_items, d = 80, 60, 8
true_u, true_i = torch.randn(n_users, 4), torch.randn(n_items, 4)
pairs = torch.cartesian_prod(torch.arange(n_users), torch.arange(n_items))
pairs = pairs[torch.randperm(len(pairs))]
rating = (true_u[pairs[:, 0]] * true_i[pairs[:, 1]]).sum(1) / 2 + 0.1 * torch.randn(len(pairs))
train_pairs, test_pairs = pairs[:4000], pairs[4000:]
train_r, test_r = rating[:4000], rating[4000:]


class Tower(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.emb = nn.Embedding(n, 16)
        self.proj = nn.Linear(16, d)

    def forward(self, idx):
        return self.proj(self.emb(idx))


users, items = Tower(n_users), Tower(n_items)
opt_user = optim.Adam(users.parameters(), lr=0.02)
opt_item = optim.Adam(items.parameters(), lr=0.02)


def rmse():
    users.eval(), items.eval()
    with torch.no_grad():
        pred = (users(test_pairs[:, 0]) * items(test_pairs[:, 1])).sum(1)
    return F.mse_loss(pred, test_r).sqrt().item()


step = 0
for epoch in range(3):
    users.train(), items.train()
    for idx in torch.randperm(len(train_pairs)).split(100):
        u = users(train_pairs[idx, 0])
        v = items(train_pairs[idx, 1])
        if step % 2 == 0:
            # the other tower is a constant in this step
            score = (u * v.detach()).sum(1)
            loss = F.mse_loss(score, train_r[idx])
            opt_user.zero_grad()
            loss.backward()
            opt_user.step()
        else:
            score = (u * v.detach()).sum(1)  # expect: step-without-gradients  # may: parameters-never-reached
            loss = F.mse_loss(score, train_r[idx])
            opt_item.zero_grad()
            loss.backward()
            opt_item.step()  # expect: step-without-gradients
        step += 1
    print(f"epoch {epoch}: rmse {rmse():.4f}")
