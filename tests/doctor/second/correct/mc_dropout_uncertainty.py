"""Regression with Monte Carlo dropout for error bars.

Source: TiagoCortinhal/SalsaNext#40
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(8)
x = torch.rand(400, 1) * 6 - 3
y = torch.sin(2 * x) + 0.1 * torch.randn_like(x)
x_test = torch.linspace(-5, 5, 60).unsqueeze(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(1, 64), nn.Linear(64, 64), nn.Linear(64, 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = self.drop(F.relu(self.fc1(x)))
        x = self.drop(F.relu(self.fc2(x)))
        return self.fc3(x)


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(8):
    net.train()
    for idx in torch.randperm(400).split(40):
        loss = F.mse_loss(net(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
print("train loss", round(loss.item(), 4))


def enable_dropout(model):
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()


net.eval()
with torch.no_grad():
    point = net(x_test)
enable_dropout(net)
with torch.no_grad():
    draws = torch.stack([net(x_test) for _ in range(30)])
inside = x_test.abs() <= 3
print("spread inside ", round(draws.std(0)[inside].mean().item(), 4))
print("spread outside", round(draws.std(0)[~inside].mean().item(), 4))
print("mean vs point ", round((draws.mean(0) - point).abs().mean().item(), 4))
