"""Plankton-like silhouettes: augmentation in the dataset, random split, small CNN.

Source: gpleiss/efficient_densenet_pytorch#51
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, Subset

torch.manual_seed(0)


def silhouettes(n, size=12):
    y = torch.randint(3, (n,))
    yy, xx = torch.meshgrid(torch.arange(size) - 5.5, torch.arange(size) - 5.5, indexing="ij")
    stretch = torch.tensor([1.0, 2.0, 3.5])[y].view(-1, 1, 1)
    images = ((xx / 1.6) ** 2 + (yy / 1.6 / stretch) ** 2 < 1).float()
    return images.unsqueeze(1) + 0.15 * torch.randn(n, 1, size, size), y


def augment(x):
    if torch.rand(()) < 0.5:
        x = x.flip(-1)
    if torch.rand(()) < 0.5:
        x = x.transpose(1, 2)
    shift = torch.randint(-3, 4, (2,)).tolist()
    return torch.roll(x, shift, dims=(1, 2)) + 0.1 * torch.randn_like(x)


class Plankton(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = self.images[i]
        return (self.transform(x) if self.transform else x), self.labels[i]


images, labels = silhouettes(500)
order = torch.randperm(500).tolist()
dataset = Plankton(images, labels, transform=augment)
train_loader = DataLoader(Subset(dataset, order[:400]), batch_size=40, shuffle=True)
valid_loader = DataLoader(Subset(Plankton(images, labels), order[400:]), batch_size=100)

net = nn.Sequential(
    nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(8):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in valid_loader)
    print(f"epoch {epoch}: last loss {loss.item():.3f}, valid accuracy {hits / 100:.3f}")
