"""Fault detection from windows of three machine channels, flattened for an MLP.

Source: vitrioil/Speech-Separation#4
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Setup:
    channels: int = 3
    length: int = 16
    batch: int = 32
    epochs: int = 6


def simulate(n: int, s: Setup) -> tuple[Tensor, Tensor]:
    faulty = torch.randint(2, (n,))
    t = torch.arange(s.length).view(-1, 1, 1)
    phase = 6.28 * torch.rand(1, n, s.channels)
    speed = 0.8 + 0.5 * faulty.view(1, -1, 1)
    return torch.sin(speed * t + phase) + 0.2 * torch.randn(s.length, n, s.channels), faulty  # time first


class FaultNet(nn.Module):
    def __init__(self, s: Setup):
        super().__init__()
        self.features = s.channels * s.length
        self.layers = nn.Sequential(nn.Linear(self.features, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, window: Tensor) -> Tensor:
        # window: (time, batch, channels)
        flat = window.transpose(0, 1).reshape(window.size(1), self.features)
        return self.layers(flat)


def main(s: Setup = Setup()) -> None:
    torch.manual_seed(0)
    x, y = simulate(800, s)
    x_valid, y_valid = simulate(200, s)
    net = FaultNet(s)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(s.epochs):
        net.train()
        total = 0.0
        for rows in torch.randperm(x.size(1)).split(s.batch):
            loss = F.cross_entropy(net(x[:, rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
        net.eval()
        with torch.no_grad():
            acc = (net(x_valid).argmax(1) == y_valid).float().mean().item()
        print(f"{epoch}: train {total / x.size(1):.4f} valid accuracy {acc:.3f}")


main()
