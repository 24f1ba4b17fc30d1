"""Multi-task regression whose task weights are learnt as log variances.

Source: zjunlp/HVPNeT#5
"""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(800, 6)
targets = torch.stack([x[:, 0] + 0.1 * torch.randn(800), 10 * x[:, 1] * x[:, 2] + 5 * torch.randn(800)], 1)
train, test = slice(0, 640), slice(640, 800)


class UncertaintyLoss(nn.Module):
    def __init__(self, tasks):
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(tasks))

    def forward(self, prediction, target):
        mse = ((prediction - target) ** 2).mean(0)
        return (torch.exp(-self.log_var) * mse + self.log_var).sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.heads = nn.ModuleList([nn.Linear(32, 1) for _ in range(2)])

    def forward(self, x):
        h = self.shared(x)
        return torch.cat([head(h) for head in self.heads], dim=1)


net, criterion = Net(), UncertaintyLoss(2)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)  # expect: parameters-not-in-optimizer
for epoch in range(12):
    for idx in torch.randperm(640).split(64):
        optimizer.zero_grad()
        loss = criterion(net(x[train][idx]), targets[train][idx])
        loss.backward()
        optimizer.step()
    if epoch % 4 == 3:
        print(epoch, round(loss.item(), 3), [round(v, 3) for v in criterion.log_var.tolist()])

with torch.no_grad():
    error = ((net(x[test]) - targets[test]) ** 2).mean(0).sqrt()
print("test rmse per task", [round(e, 3) for e in error.tolist()])
