"""Classifier on 8-bit images whose dataset and transform both live in the script.

Source: SfmLearner#73
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
rng = np.random.default_rng(0)


def paint(n):
    label = rng.integers(0, 2, n)
    img = rng.integers(0, 90, (n, 9, 9)).astype(np.uint8)
    for k in range(n):
        r = rng.integers(1, 8)
        if label[k]:
            img[k, r, 1:8] = rng.integers(120, 255)
        else:
            img[k, 1:8, r] = rng.integers(120, 255)
    return img, label


class Lines(Dataset):
    def __init__(self, n):
        self.images, self.labels = paint(n)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = torch.from_numpy(self.images[i]).float().unsqueeze(0) / 255.0
        return image, int(self.labels[i])


class LineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 8, 5), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).amax((2, 3)))


net = LineNet()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
train_loader, test_loader = DataLoader(Lines(400), batch_size=40, shuffle=True), DataLoader(Lines(120), batch_size=60)
for epoch in range(5):
    net.train()
    for x, y in train_loader:
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        acc = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader) / 120
    print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f}")
