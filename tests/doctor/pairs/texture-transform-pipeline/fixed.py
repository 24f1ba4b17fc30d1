"""Texture recognition with a transform pipeline like torchvision's.

Source: 4uiiurz1/pytorch-nested-unet#62
"""

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset


class ToTensor:
    """HWC uint8 array to CHW float tensor in [0, 1]."""

    def __call__(self, a):
        return torch.from_numpy(a).permute(2, 0, 1).float() / 255.0


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x


class Textures(Dataset):
    def __init__(self, n, seed, transform):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 3, n)
        waves = [1.0, 1.6, 2.4]
        yy, xx = np.mgrid[:10, :10]
        base = [np.sin(waves[c] * xx + rng.uniform(0, 6)) for c in self.labels]
        self.images = [
            (128 + 60 * b[..., None] + rng.normal(0, 25, (10, 10, 3))).clip(0, 255).astype(np.uint8) for b in base
        ]
        self.transform = transform

    def __getitem__(self, i):
        return self.transform(self.images[i]), int(self.labels[i])

    def __len__(self):
        return len(self.labels)


transform = Compose([ToTensor()])
torch.manual_seed(1)
train_loader = DataLoader(Textures(360, 0, transform), batch_size=30, shuffle=True)
valid_loader = DataLoader(Textures(90, 1, transform), batch_size=90)

model = nn.Sequential(
    nn.Conv2d(3, 12, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(108, 32), nn.ReLU(), nn.Linear(32, 3)
)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(8):
    model.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = np.mean([(model(x).argmax(1) == t).float().mean().item() for x, t in valid_loader])
    print(f"epoch {epoch}: last loss {loss.item():.3f} valid {acc:.3f}")
