"""An IterableDataset that gives each worker its own part of the stream, with persistent workers.

Source: pytorch/pytorch#30599
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

W = torch.tensor([[1.0], [-2.0], [0.5]])


class Stream(IterableDataset):
    def __init__(self, start, stop, shuffle=False):
        self.start, self.stop, self.shuffle = start, stop, shuffle

    def __iter__(self):
        info = get_worker_info()
        first, step = (self.start, 1) if info is None else (self.start + info.id, info.num_workers)
        mine = list(range(first, self.stop, step))
        if self.shuffle:
            mine = [mine[k] for k in torch.randperm(len(mine)).tolist()]
        for i in mine:
            g = torch.Generator().manual_seed(i)
            x = torch.randn(3, generator=g)
            yield x, (x @ W).tanh() + 0.05 * torch.randn(1, generator=g)


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(Stream(0, 320, shuffle=True), batch_size=16, num_workers=2, persistent_workers=True)
    valid_loader = DataLoader(Stream(10_000, 10_100), batch_size=50)
    model = nn.Sequential(nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(3):
        model.train()
        n = 0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            n += len(x)
        model.eval()
        with torch.no_grad():
            mse = sum((model(x) - y).pow(2).sum().item() for x, y in valid_loader) / 100
        print(f"epoch {epoch}: {n} examples, valid mse {mse:.5f}")


if __name__ == "__main__":
    main()
