"""Convolutional digits classifier, research style, with micro-batches.

Source: eriklindernoren/PyTorch-YOLOv3#313
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=30)
    parser.add_argument("--accum-iter", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


def train_one_epoch(model, loader, optimizer, args):
    model.train()
    total, seen = 0.0, 0
    optimizer.zero_grad()
    for it, (images, labels) in enumerate(loader):
        loss = F.cross_entropy(model(images), labels)
        total += loss.item() * len(labels)
        seen += len(labels)
        (loss / args.accum_iter).backward()
        if (it + 1) % args.accum_iter == 0:
            optimizer.step()
            optimizer.zero_grad()
    return total / seen


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct = 0
    for images, labels in loader:
        correct += model(images).argmax(1).eq(labels).sum().item()
    return correct / len(loader.dataset)


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    data = TensorDataset(images, torch.from_numpy(digits.target))
    train_set, test_set = random_split(data, [1440, 357])
    train_loader = DataLoader(train_set, batch_size=args.micro_batch, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=128)
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for epoch in range(args.epochs):
        loss = train_one_epoch(model, train_loader, optimizer, args)
        print(f"epoch {epoch} loss {loss:.4f} acc {evaluate(model, test_loader):.4f}")


if __name__ == "__main__":
    main()
