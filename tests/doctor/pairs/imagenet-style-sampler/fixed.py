"""Distributed style training script; started without a launcher it runs as a single process.

Source: pytorch/pytorch#31771
"""

import argparse
import os

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", default=4, type=int)
parser.add_argument("-b", "--batch-size", default=32, type=int)
parser.add_argument("--lr", default=0.1, type=float)
parser.add_argument("--seed", default=0, type=int)


def clusters(n, g):
    y = torch.randint(0, 6, (n,), generator=g)
    angle = y * 1.047 + 0.35 * torch.randn(n, generator=g)
    return torch.stack([angle.cos(), angle.sin()], dim=1), y


def validate(loader, model, criterion):
    model.eval()
    loss, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += criterion(out, y).item() * len(y)
            correct += (out.argmax(1) == y).sum().item()
            count += len(y)
    return loss / count, correct / count


def main():
    args = parser.parse_args()
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.manual_seed(args.seed)
    g = torch.Generator().manual_seed(args.seed)
    train_set, val_set = TensorDataset(*clusters(512, g)), TensorDataset(*clusters(256, g))

    train_sampler = DistributedSampler(train_set, num_replicas=world_size, rank=rank, shuffle=True)
    train_loader = DataLoader(train_set, args.batch_size, sampler=train_sampler)
    val_loader = DataLoader(val_set, args.batch_size)

    model = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 6))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9)
    for epoch in range(args.epochs):
        train_sampler.set_epoch(epoch)
        model.train()
        for x, y in train_loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val_loss, acc1 = validate(val_loader, model, criterion)
        print(f"Epoch: [{epoch}] * Loss {val_loss:.4f} Acc@1 {acc1:.3f}")


if __name__ == "__main__":
    main()
