"""Fully convolutional segmentation; validates every few iterations, also in the middle of an epoch.

Source: wkentaro/pytorch-fcn#56
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def scenes(n, size=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    horizon = torch.randint(3, size - 3, (n, 1, 1), generator=g)
    rows = torch.arange(size).view(1, size, 1).expand(n, size, size)
    label = (rows >= horizon).long()
    car = torch.randint(0, size - 3, (n,), generator=g)
    for i in range(n):
        r = horizon[i].item()
        label[i, r : r + 3, car[i] : car[i] + 3] = 2
    image = F.one_hot(label, 3).permute(0, 3, 1, 2).float() + 0.8 * torch.randn(n, 3, size, size, generator=g)
    return image, label


class FCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.drop = nn.Dropout2d(0.3)
        self.score = nn.Conv2d(12, 3, 1)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return self.score(self.drop(F.relu(self.conv2(h))))


class Trainer:
    def __init__(self, model, optimizer, train_loader, val_loader, interval_validate):
        self.model, self.optim = model, optimizer
        self.train_loader, self.val_loader = train_loader, val_loader
        self.interval_validate = interval_validate
        self.iteration = 0

    def validate(self):
        self.model.eval()
        loss, hits, pixels = 0.0, 0, 0
        with torch.no_grad():
            for data, target in self.val_loader:
                score = self.model(data)
                loss += F.cross_entropy(score, target, reduction="sum").item()
                hits += (score.argmax(1) == target).sum().item()
                pixels += target.numel()
        print(f"iter {self.iteration}: val loss {loss / pixels:.4f} pixel acc {hits / pixels:.3f}")
        self.model.train()

    def train_epoch(self):
        self.model.train()
        for data, target in self.train_loader:
            if self.iteration % self.interval_validate == 0:
                self.validate()
            self.optim.zero_grad()
            score = self.model(data)
            loss = F.cross_entropy(score, target)
            assert not np.isnan(loss.item())
            loss.backward()
            self.optim.step()
            self.iteration += 1


torch.manual_seed(1337)
fcn = FCN()
trainer = Trainer(
    model=fcn,
    optimizer=torch.optim.SGD(fcn.parameters(), lr=0.1, momentum=0.9),
    train_loader=DataLoader(TensorDataset(*scenes(128)), batch_size=16, shuffle=True),
    val_loader=DataLoader(TensorDataset(*scenes(48, seed=1)), batch_size=24),
    interval_validate=5,
)
for epoch in range(3):
    trainer.train_epoch()
trainer.validate()
