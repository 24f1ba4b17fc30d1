"""Data parallel training with two processes (gloo); rank 0 reports the validation accuracy.

Source: pytorch/examples#905
"""

import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def make(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    return TensorDataset(x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).long())


def validate(model, loader):
    model.eval()
    counts = torch.zeros(2)
    with torch.no_grad():
        for x, y in loader:
            counts[0] += (model(x).argmax(1) == y).sum()
            counts[1] += len(y)
    return (counts[0] / counts[1]).item()  # expect: metrics-not-reduced


def worker(rank, world_size, init_file):
    torch.manual_seed(0)
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=world_size)
    train_set, val_set = make(320, seed=1), make(150, seed=2)
    sampler = DistributedSampler(train_set, shuffle=True)
    train_loader = DataLoader(train_set, batch_size=16, sampler=sampler)
    val_loader = DataLoader(val_set, batch_size=25, sampler=DistributedSampler(val_set, shuffle=False))
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    for epoch in range(4):
        sampler.set_epoch(epoch)
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            for p in model.parameters():  # average the gradients by hand
                dist.all_reduce(p.grad)
                p.grad /= world_size
            optimizer.step()
        acc = validate(model, val_loader)
        if rank == 0:
            print(f"epoch {epoch} val accuracy {acc:.4f}")  # expect: metrics-not-reduced
    dist.destroy_process_group()


if __name__ == "__main__":
    ctx = mp.get_context("fork")
    with tempfile.TemporaryDirectory() as tmp:
        init_file = os.path.join(tmp, "init")
        other = ctx.Process(target=worker, args=(1, 2, init_file))
        other.start()
        worker(0, 2, init_file)
        other.join()
