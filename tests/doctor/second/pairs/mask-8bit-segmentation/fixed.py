"""Binary segmentation where the masks come as 8-bit images.

Source: milesial/Pytorch-UNet#78
"""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


def render(seed, n):
    rng = np.random.RandomState(seed)
    images, masks = [], []
    for _ in range(n):
        mask = np.zeros((16, 16), dtype=np.uint8)
        r, c, s = rng.randint(0, 9), rng.randint(0, 9), rng.randint(4, 7)
        mask[r : r + s, c : c + s] = 255
        image = np.clip(mask * 0.4 + 60 + rng.randn(16, 16) * 40, 0, 255).astype(np.uint8)
        images.append(image), masks.append(mask)
    return images, masks


class BasicDataset(Dataset):
    def __init__(self, images, masks):
        self.images, self.masks = images, masks

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = torch.from_numpy(self.images[i]).float().unsqueeze(0) / 255
        mask = torch.from_numpy(self.masks[i]).float().unsqueeze(0) / 255
        return {"image": image, "mask": mask}


net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
)
optimizer = torch.optim.RMSprop(net.parameters(), lr=2e-3)
criterion = nn.BCEWithLogitsLoss()
train_loader = DataLoader(BasicDataset(*render(0, 160)), batch_size=16, shuffle=True)
val_loader = DataLoader(BasicDataset(*render(1, 40)), batch_size=40)
for epoch in range(3):
    net.train()
    epoch_loss = 0.0
    for batch in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(batch["image"]), batch["mask"])
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(batch["image"])
    net.eval()
    with torch.no_grad():
        batch = next(iter(val_loader))
        pred, true = net(batch["image"]) > 0, batch["mask"] > 0
        dice = 2 * (pred & true).sum() / (pred.sum() + true.sum())
    print(f"epoch {epoch} loss {epoch_loss / 160:.4f} val dice {dice.item():.4f}")
