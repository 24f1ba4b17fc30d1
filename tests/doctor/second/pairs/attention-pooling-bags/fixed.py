"""Multiple-instance learning with attention pooling over the instances of a bag.

Source: KEQA_WSDM19#2
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def bags(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, 6, generator=g)
    y = (torch.rand(n, generator=g) < 0.5).float()
    slot = torch.randint(0, 8, (n,), generator=g)
    x[torch.arange(n), slot] += 3.0 * y[:, None] * torch.tensor([1.0, -1, 0, 0, 1, 0])
    return TensorDataset(x, y)


class AttentionMIL(nn.Module):
    def __init__(self, d=6, h=16):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(d, h), nn.ReLU())
        self.attention = nn.Sequential(nn.Linear(h, 8), nn.Tanh(), nn.Linear(8, 1))
        self.classify = nn.Linear(h, 1)

    def forward(self, bag):
        h = self.embed(bag)
        score = self.attention(h)
        weight = F.softmax(score, dim=1)
        pooled = (weight * h).sum(dim=1)
        return self.classify(pooled).squeeze(-1)


net = AttentionMIL()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
train_loader = DataLoader(bags(400, 0), batch_size=40, shuffle=True)
test_loader = DataLoader(bags(200, 1), batch_size=50)
for epoch in range(6):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(net(x), y)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        correct = sum(((net(x) > 0).float() == y).sum().item() for x, y in test_loader)
    print(f"epoch {epoch} loss {loss.item():.4f} test accuracy {correct / 200:.4f}")
