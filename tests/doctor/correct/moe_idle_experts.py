"""Sparse mixture of experts with top-1 routing: in many steps some experts see no token and get no gradient.

Source: davidmrau/mixture-of-experts
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Expert(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, dim))

    def forward(self, x):
        return self.net(x)


class SparseMoE(nn.Module):
    def __init__(self, dim, n_experts):
        super().__init__()
        self.router = nn.Linear(dim, n_experts)
        self.experts = nn.ModuleList([Expert(dim) for _ in range(n_experts)])

    def forward(self, x):
        gates = F.softmax(self.router(x), dim=-1)
        weight, chosen = gates.max(dim=-1)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows = (chosen == e).nonzero(as_tuple=True)[0]
            if rows.numel():
                out = out.index_add(0, rows, expert(x[rows]) * weight[rows, None])
        load = F.one_hot(chosen, gates.size(1)).float().mean(0)
        self.aux_loss = gates.size(1) * (load * gates.mean(0)).sum()
        return x + out


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.moe, self.head = nn.Linear(6, 16), SparseMoE(16, 6), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.moe(self.embed(x)))


torch.manual_seed(2)
centres = torch.randn(4, 3, 6) * 2
label = torch.randint(0, 4, (700,))
x = centres[label, torch.randint(0, 3, (700,))] + 0.7 * torch.randn(700, 6)
train, test = TensorDataset(x[:500], label[:500]), TensorDataset(x[500:], label[500:])
model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(5):
    model.train()
    idle = 0
    for xb, yb in DataLoader(train, batch_size=20, shuffle=True):
        loss = F.cross_entropy(model(xb), yb) + 0.01 * model.moe.aux_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        idle += sum(expert.net[0].weight.grad is None for expert in model.moe.experts)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(test, batch_size=100))
    print(f"epoch {epoch}: accuracy {hits / len(test):.3f}, experts idle {idle / 25:.2f} per step")
