"""Land cover from small RGB tiles; a function for training and one for inference.

Source: ClementPinard/SfmLearner-Pytorch#73
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

rng = np.random.default_rng(3)
torch.manual_seed(3)
COLOURS = np.array([[60, 120, 50], [40, 60, 130], [150, 140, 110], [120, 110, 60]])


def tiles(n):
    y = rng.integers(0, 4, n)
    noise = rng.normal(0, 45, (n, 8, 8, 3))
    return (COLOURS[y][:, None, None, :] + noise).clip(0, 255).astype(np.uint8), y


class TileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).mean(dim=(2, 3)))


def fit(net, images, labels, epochs=8):
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.4).div(0.2)
    y = torch.from_numpy(labels)
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for idx in torch.randperm(len(x)).split(32):
            loss = F.cross_entropy(net(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        print(f"epoch {epoch}: {total / len(x):.4f}")


@torch.no_grad()
def predict(net, images):
    net.eval()
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.4).div(0.2)
    return net(x).argmax(1).numpy()


images, labels = tiles(512)
net = TileNet()
fit(net, images[:400], labels[:400])
print("accuracy", (predict(net, images[400:]) == labels[400:]).mean())
