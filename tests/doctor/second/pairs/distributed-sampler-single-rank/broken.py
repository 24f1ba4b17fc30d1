"""Script meant for several ranks; here it is started as the only one.

Source: pytorch/pytorch#31771
"""

import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

RANK = int(os.environ.get("RANK", 0))
WORLD_SIZE = int(os.environ.get("WORLD_SIZE", 1))


def main():
    torch.manual_seed(0)
    x = torch.randn(640, 6)
    y = (x[:, 0] - x[:, 1] * x[:, 2]).unsqueeze(1)
    train = TensorDataset(x[:512], y[:512])
    sampler = DistributedSampler(train, num_replicas=WORLD_SIZE, rank=RANK, shuffle=True, seed=0)
    loader = DataLoader(train, batch_size=32, sampler=sampler)  # expect: epoch-not-set-on-sampler
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(5):
        model.train()
        running = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(xb)
        model.eval()
        with torch.no_grad():
            val = nn.functional.mse_loss(model(x[512:]), y[512:]).item()
        if RANK == 0:
            print(f"epoch {epoch} train {running / len(sampler):.5f} val {val:.5f}")


if __name__ == "__main__":
    main()
