"""Customer churn (synthetic, binary) with a small tabular network.

Source: phanideepgampa/stacked-capsule-networks#5
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Args:
    epochs: int = 6
    batch_size: int = 64
    lr: float = 3e-3
    seed: int = 0


class ChurnNet(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, x):
        x = self.body(x)
        return torch.softmax(x, dim=1)  # expect: softmax-over-one-class


def get_data(seed):
    rng = np.random.default_rng(seed)
    n = 1200
    months = rng.exponential(24, n)
    calls = rng.poisson(2, n)
    bill = rng.normal(60, 20, n)
    logit = 0.9 * calls - 0.06 * months + 0.015 * (bill - 60) - 0.8
    churned = rng.random(n) < 1 / (1 + np.exp(-logit))
    x = np.stack([months, calls, bill], 1)
    x = (x - x[:900].mean(0)) / x[:900].std(0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(churned, dtype=torch.float32).unsqueeze(1)
    return TensorDataset(x[:900], y[:900]), TensorDataset(x[900:], y[900:])


def main(args):
    torch.manual_seed(args.seed)
    train_set, test_set = get_data(args.seed)
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    net = ChurnNet(3)
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        net.train()
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(net(x), y)  # expect: softmax-over-one-class
            loss.backward()
            optimizer.step()
            running += loss.item() * len(y)
        net.eval()
        x, y = test_set.tensors
        with torch.no_grad():
            acc = ((net(x) > 0.5) == (y > 0.5)).float().mean().item()
        print(f"epoch {epoch + 1} train loss {running / len(train_set):.4f} test acc {acc:.4f}")


if __name__ == "__main__":
    main(Args())
