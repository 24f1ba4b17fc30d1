"""Augment in worker processes with NumPy, each worker and epoch seeded through worker_init_fn.

Source: pytorch/pytorch#5059
"""

import random

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, images, labels, augment):
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            image = np.roll(image, np.random.randint(-1, 2), axis=1)  # a copy
            image = image + 0.05 * np.random.standard_normal(image.shape).astype(np.float32)
        return torch.from_numpy(image).unsqueeze(0), self.labels[i]


def seed_worker(worker_id):
    worker_seed = torch.initial_seed() % 2**32
    np.random.seed(worker_seed)
    random.seed(worker_seed)


if __name__ == "__main__":
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    d = load_digits()
    order = np.random.RandomState(0).permutation(len(d.target))
    images, labels = (d.images[order] / 16).astype(np.float32), d.target[order]
    train_loader = DataLoader(
        Digits(images[:640], labels[:640], True),
        batch_size=64,
        shuffle=True,
        num_workers=2,
        worker_init_fn=seed_worker,
        generator=g,
    )
    test_loader = DataLoader(Digits(images[640:], labels[640:], False), batch_size=256)
    net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(2):
        net.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            hits = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader)
        print(f"epoch {epoch} loss {loss.item():.4f} accuracy {hits / len(test_loader.dataset):.4f}")
