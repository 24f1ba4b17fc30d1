"""Click-through prediction: two embedding tables and a dense tower with its own initialisation.

Source: facebookresearch/dlrm#358
"""

import numpy as np
import torch
from torch import nn

np.random.seed(0)
torch.manual_seed(0)


class Tower(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        layers = []
        for n, m in zip(sizes, sizes[1:]):
            linear = nn.Linear(n, m)
            w = np.random.normal(0.0, np.sqrt(2 / (m + n)), size=(m, n)).astype(np.float32)
            b = np.random.normal(0.0, np.sqrt(1 / m), size=m).astype(np.float32)
            linear.weight.data = torch.tensor(w)
            linear.bias.data = torch.tensor(b)
            layers += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


class ClickModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(40, 8)
        self.item = nn.Embedding(60, 8)
        self.tower = Tower([20, 24, 16])
        self.out = nn.Linear(16, 1)

    def forward(self, user, item, dense):
        x = torch.cat([self.user(user), self.item(item), dense], dim=1)
        return self.out(self.tower(x)).squeeze(1)


n = 1500
user, item, dense = torch.randint(40, (n,)), torch.randint(60, (n,)), torch.randn(n, 4)
clicked = ((dense[:, 0] + dense[:, 1] * (user % 2) + 0.5 * torch.randn(n)) > 0.3).float()
model = ClickModel()
loss_fn = nn.BCEWithLogitsLoss()
opt = torch.optim.Adagrad(model.parameters(), lr=0.05)

for epoch in range(5):
    model.train()
    for i in torch.randperm(1200).split(60):
        loss = loss_fn(model(user[i], item[i], dense[i]), clicked[i])
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        out = model(user[1200:], item[1200:], dense[1200:])
        acc = ((out > 0).float() == clicked[1200:]).float().mean().item()
    print(f"epoch {epoch}: last loss {loss.item():.4f} test accuracy {acc:.4f}")
