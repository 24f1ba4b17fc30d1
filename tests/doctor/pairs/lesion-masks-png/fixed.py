"""Segment lesions: images and masks come as 8-bit pictures, like PNG files.

Source: milesial/Pytorch-UNet#78
"""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class LesionDataset(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.images, self.masks = [], []
        for _ in range(n):
            yy, xx = np.mgrid[:20, :20]
            cy, cx, r = rng.integers(5, 15), rng.integers(5, 15), rng.integers(3, 6)
            blob = (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
            picture = 90 + 70 * blob + rng.normal(0, 20, blob.shape)
            self.images.append(picture.clip(0, 255).astype(np.uint8))
            self.masks.append((blob * 255).astype(np.uint8))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        img = torch.from_numpy(self.images[i]).float().unsqueeze(0) / 255 - 0.45
        mask = torch.from_numpy(self.masks[i]).float().unsqueeze(0) / 255
        return img, mask


torch.manual_seed(0)
train_loader = DataLoader(LesionDataset(80, 0), batch_size=16, shuffle=True)
val_loader = DataLoader(LesionDataset(24, 1), batch_size=24)

net = nn.Sequential(
    nn.Conv2d(1, 8, 5, padding=2),
    nn.ReLU(),
    nn.Conv2d(8, 8, 5, padding=2),
    nn.ReLU(),
    nn.Conv2d(8, 1, 1),
)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

for epoch in range(8):
    net.train()
    for img, mask in train_loader:
        loss = criterion(net(img), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    inter = union = 0
    with torch.no_grad():
        for img, mask in val_loader:
            pred, true = net(img) > 0, mask > 0.5
            inter += (pred & true).sum().item()
            union += (pred | true).sum().item()
    print(f"Epoch {epoch + 1}: last loss {loss.item():.4f}  val IoU {inter / max(union, 1):.4f}")
