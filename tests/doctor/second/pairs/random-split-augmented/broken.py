"""Digits with shifting augmentation and a random split into train and validation.

Source: udacity/deep-learning-v2-pytorch#132
"""

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

torch.manual_seed(0)


class Digits(Dataset):
    def __init__(self, augment):
        d = load_digits()
        self.images = torch.tensor(d.images, dtype=torch.float32) / 16
        self.targets = torch.tensor(d.target)
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            shift = tuple(torch.randint(-1, 2, (2,)).tolist())
            image = image.roll(shift, (0, 1)) + 0.2 * torch.randn(8, 8)
        return image.unsqueeze(0), self.targets[i]


full = Digits(augment=True)
train_set, val_set = random_split(full, [1437, 360])
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
val_loader = DataLoader(val_set, batch_size=120)  # expect: augmentation-in-evaluation

net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 10))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(3):
    net.train()
    for x, y in train_loader:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = sum((net(x).argmax(1) == y).sum().item() for x, y in val_loader) / 360
    print(f"epoch {epoch} loss {loss.item():.4f} val acc {acc:.4f}")
