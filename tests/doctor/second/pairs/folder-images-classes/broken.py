"""Image classes read folder by folder (rendered here), small CNN with batch norm.

Source: ultralytics/yolov5#2582
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
CLASSES = ["cross", "ring", "stripe", "corner"]


def draw(kind, g):
    img = torch.zeros(12, 12)
    r = int(torch.randint(3, 9, (1,), generator=g))
    if kind == "cross":
        img[r, :], img[:, r] = 1, 1
    elif kind == "ring":
        img[2:10, 2:10] = 1
        img[4:8, 4:8] = 0
    elif kind == "stripe":
        img[r - 1 : r + 1, :] = 1
    else:
        img[:r, :2], img[:2, :r] = 1, 1
    return img + 0.5 * torch.randn(12, 12, generator=g)


class ImageFolder(Dataset):
    """Lists every class folder one after the other."""

    def __init__(self, per_class, seed):
        g = torch.Generator().manual_seed(seed)
        self.samples = [(draw(c, g).unsqueeze(0), k) for k, c in enumerate(CLASSES) for _ in range(per_class)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(2),
    nn.Flatten(),
    nn.Linear(64, len(CLASSES)),
)
train_loader = DataLoader(ImageFolder(100, 0), batch_size=20)  # expect: not-shuffled-and-sorted
test_loader = DataLoader(ImageFolder(30, 1), batch_size=40)
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
for epoch in range(3):
    net.train()
    running = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(y)
    net.eval()
    with torch.no_grad():
        acc = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader) / 120
    print(f"epoch {epoch} train loss {running / 400:.4f} test acc {acc:.4f}")
