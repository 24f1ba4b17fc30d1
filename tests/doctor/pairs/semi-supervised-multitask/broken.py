"""Two-task tabular model where only some rows carry the second label.

Source: KevinMusgrave/pytorch-metric-learning#107
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(6)

N = 480
x = torch.randn(N, 8)
risk = (x[:, 0] + 0.5 * x[:, 1] > 0).long()
cost = x[:, 2] - x[:, 3] + 0.1 * torch.randn(N)
has_cost = torch.rand(N) < 0.12  # the cost is known for few patients
cost = torch.where(has_cost, cost, torch.zeros(N))

train = TensorDataset(x[:400], risk[:400], cost[:400], has_cost[:400])
loader = DataLoader(train, batch_size=10, shuffle=True)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 24), nn.ReLU())
        self.risk = nn.Linear(24, 2)
        self.cost = nn.Linear(24, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.risk(h), self.cost(h).squeeze(1)


model = TwoHeads()
ce = nn.CrossEntropyLoss()
opt = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(4):
    model.train()
    for xb, rb, cb, known in loader:
        r_hat, c_hat = model(xb)
        loss_risk = ce(r_hat, rb)
        loss_cost = ((c_hat - cb) ** 2 * known).sum() / known.sum()  # expect: loss-not-finite
        loss = loss_risk + 0.3 * loss_cost
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        r_hat, c_hat = model(x[400:])
        acc = (r_hat.argmax(1) == risk[400:]).float().mean().item()
    print(f"epoch {epoch}: last loss {loss.item():.4f} risk accuracy {acc:.3f}")
