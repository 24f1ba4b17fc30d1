"""Convolutional classifier on a folder of pictures, one sub-folder for each class.

Source: ultralytics/yolov5#2582
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

CLASSES = ["circle", "cross", "square", "stripe"]


def draw(kind, rng):
    yy, xx = np.mgrid[:12, :12] - 5.5
    yy, xx = yy + rng.integers(-2, 3), xx + rng.integers(-2, 3)
    r = rng.uniform(2, 4)
    picture = {
        "circle": np.abs(np.hypot(yy, xx) - r) < 0.8,
        "cross": (np.abs(yy - xx) < 0.8) | (np.abs(yy + xx) < 0.8),
        "square": np.maximum(np.abs(yy), np.abs(xx)) < r,
        "stripe": np.abs(yy) < 1.2,
    }[kind]
    return (picture + rng.normal(0, 0.3, picture.shape)).astype(np.float32)


class ShapeFolder(Dataset):
    """Lists the files class by class, in alphabetical order, as an image folder does."""

    def __init__(self, per_class, seed):
        rng = np.random.default_rng(seed)
        self.samples = [(draw(c, rng), i) for i, c in enumerate(CLASSES) for _ in range(per_class)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        image, target = self.samples[i]
        return torch.from_numpy(image).unsqueeze(0), target


def get_loaders(batch_size=20):
    train = DataLoader(ShapeFolder(120, 0), batch_size=batch_size, drop_last=True)  # expect: not-shuffled-and-sorted
    val = DataLoader(ShapeFolder(30, 1), batch_size=batch_size)
    return train, val


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 3, padding=1)
        self.c2 = nn.Conv2d(8, 12, 3, padding=1)
        self.fc = nn.Linear(12 * 9, len(CLASSES))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2)
        return self.fc(x.flatten(1))


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        hits = [(net(x).argmax(1) == y) for x, y in loader]
    return torch.cat(hits).float().mean().item()


torch.manual_seed(0)
train_loader, val_loader = get_loaders()
net = SmallCNN()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(5):
    net.train()
    for x, y in train_loader:
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"epoch {epoch} | last loss {loss.item():.4f} | val acc {accuracy(net, val_loader):.4f}")
