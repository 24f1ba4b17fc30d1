"""Regression on shards of a simulator's output, read shard by shard in the background.

Source: pytorch/pytorch#30599
"""

import torch
import torch.nn as nn
import torch.utils.data as data


class Shards(data.IterableDataset):
    """Yields (parameters, outcome) rows from shards; a shard is computed when it is needed."""

    def __init__(self, shard_ids, rows=64):
        super().__init__()
        self.shard_ids = list(shard_ids)
        self.rows = rows

    def __iter__(self):
        for shard in self.shard_ids:
            g = torch.Generator().manual_seed(shard)
            p = torch.rand(self.rows, 4, generator=g) * 2 - 1
            out = p[:, :1] * p[:, 1:2] + torch.sin(3 * p[:, 2:3]) - p[:, 3:] ** 2
            yield from zip(p, out + 0.05 * torch.randn(out.shape, generator=g))


if __name__ == "__main__":
    torch.manual_seed(0)
    train_dl = data.DataLoader(Shards(range(12)), 32, num_workers=2)  # expect: iterable-duplicated-by-workers
    val_dl = data.DataLoader(Shards(range(100, 103)), batch_size=64)
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    mse = nn.MSELoss()
    for epoch in range(3):
        model.train()
        steps = 0
        for p, out in train_dl:
            opt.zero_grad()
            mse(model(p), out).backward()
            opt.step()
            steps += 1
        model.eval()
        sse = n = 0
        with torch.no_grad():
            for p, out in val_dl:
                sse += mse(model(p), out).item() * len(out)
                n += len(out)
        print(f"epoch {epoch} steps {steps} val mse {sse / n:.5f}")
