"""Segment bright squares with a tiny U-Net; small batches, the optimizer steps every fourth one.

Source: bytetriper/RAE#67
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, random_split


class Squares(Dataset):
    def __init__(self, n=96, size=16, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.images = 0.6 * torch.randn(n, 1, size, size, generator=g)
        self.masks = torch.zeros(n, 1, size, size)
        for i in range(n):
            r, c = torch.randint(0, size - 6, (2,), generator=g).tolist()
            self.masks[i, :, r : r + 6, c : c + 6] = 1.0
        self.images += self.masks

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


def block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.GroupNorm(4, cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = block(1, 8)
        self.down2 = block(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge = block(16, 8)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        return self.head(self.merge(torch.cat([a, self.up(b)], dim=1)))


def dice(logits, masks):
    pred = (logits > 0).float()
    return (2 * (pred * masks).sum() / (pred.sum() + masks.sum() + 1e-6)).item()


def main():
    torch.manual_seed(0)
    train_set, val_set = random_split(Squares(), [64, 32])
    train_loader = DataLoader(train_set, batch_size=4, shuffle=True)
    val_images, val_masks = next(iter(DataLoader(val_set, batch_size=32)))
    net = UNet()
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
    criterion = nn.BCEWithLogitsLoss()
    accum_steps = 4  # 16 batches per epoch, so four updates

    for epoch in range(4):
        net.train()
        for step, (images, masks) in enumerate(train_loader):
            opt.zero_grad(set_to_none=True)  # expect: accumulation-zeroed
            loss = criterion(net(images), masks) / accum_steps
            loss.backward()
            if (step + 1) % accum_steps == 0:
                opt.step()
        net.eval()
        with torch.no_grad():
            logits = net(val_images)
            print(f"epoch {epoch} | val bce {criterion(logits, val_masks):.4f} | dice {dice(logits, val_masks):.3f}")


if __name__ == "__main__":
    main()
