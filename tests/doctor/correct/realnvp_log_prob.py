"""A normalising flow on two moons, trained by the negative log-likelihood (which may well be negative).

Source: VincentStimper/normalizing-flows
"""

import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.distributions import MultivariateNormal
from torch.utils.data import DataLoader


class Coupling(nn.Module):
    def __init__(self, mask, hidden=32):
        super().__init__()
        self.register_buffer("mask", mask)
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 4))
        nn.init.zeros_(self.net[-1].weight)  # the identity at first
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        s, t = self.net(x * self.mask).chunk(2, 1)
        s, t = torch.tanh(s) * (1 - self.mask), t * (1 - self.mask)
        return x * s.exp() + t, s.sum(1)


class Flow(nn.Module):
    def __init__(self, layers=6):
        super().__init__()
        masks = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
        self.layers = nn.ModuleList(Coupling(masks[i % 2]) for i in range(layers))

    def log_prob(self, x):
        log_det = 0.0
        for layer in self.layers:
            x, ld = layer(x)
            log_det = log_det + ld
        return MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(x) + log_det


torch.manual_seed(0)
points = torch.tensor(make_moons(900, noise=0.05, random_state=0)[0], dtype=torch.float32)
train, test = points[:700], points[700:]
train, test = (train - train.mean(0)) / train.std(0), (test - train.mean(0)) / train.std(0)
flow = Flow()
optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
for epoch in range(8):
    flow.train()
    for x in DataLoader(train, batch_size=100, shuffle=True):
        loss = -flow.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
    flow.eval()
    with torch.no_grad():
        print(f"epoch {epoch} train nll {loss.item():.3f} test nll {-flow.log_prob(test).mean().item():.3f}")
