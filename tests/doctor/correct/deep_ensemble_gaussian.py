"""Deep ensemble: several nets with mean and softplus variance, trained one after another by Gaussian NLL.

Source: google/uncertainty-baselines
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class MeanVariance(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh())
        self.mean, self.raw = nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), F.softplus(self.raw(h)) + 1e-4


torch.manual_seed(0)
x = torch.rand(400, 1) * 4 - 2
y = (2 * x).sin() + (0.1 + 0.2 * x.abs()) * torch.randn(400, 1)
train, x_test, y_test = TensorDataset(x[:320], y[:320]), x[320:], y[320:]
nll = nn.GaussianNLLLoss()
members = []
for k in range(3):
    net = MeanVariance()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    net.train()
    for epoch in range(8):
        for xb, yb in DataLoader(train, batch_size=32, shuffle=True):
            mean, var = net(xb)
            loss = nll(mean, yb, var)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    members.append(net.eval())
    with torch.no_grad():
        means, variances = (torch.stack(v) for v in zip(*(m(x_test) for m in members)))
        mu = means.mean(0)
        sigma2 = (variances + means**2).mean(0) - mu**2
    print(f"{k + 1} members: test nll {nll(mu, y_test, sigma2).item():.4f}")
