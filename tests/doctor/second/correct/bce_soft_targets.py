"""Annotators disagree: binary targets are fractions of votes.

Source: avBuffer/UNet3plus_pth#23
"""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(500, 7)
truth = torch.sigmoid(2 * x[:, 0] - x[:, 1])
votes = torch.binomial(torch.full((500,), 5.0), truth) / 5  # 0, 0.2, ... 1
net = nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1.2))
for epoch in range(8):
    for idx in torch.randperm(400).split(40):
        opt.zero_grad()
        loss = criterion(net(x[idx]), votes[idx])
        loss.backward()
        opt.step()
    if epoch % 2:
        print(epoch, round(loss.item(), 4))
with torch.no_grad():
    print("error of the probability", round((net(x[400:]).sigmoid() - truth[400:]).abs().mean().item(), 4))
