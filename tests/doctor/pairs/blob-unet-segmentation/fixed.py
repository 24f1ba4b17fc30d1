"""Segment bright blobs in noisy images with a two-level U-Net.

Source: avBuffer/UNet3plus_pth#23
"""

from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    size: int = 24
    n_train: int = 96
    n_val: int = 32
    batch_size: int = 16
    epochs: int = 4
    lr: float = 5e-3


def make_blobs(n, size):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    cy = torch.randint(5, size - 5, (n, 1, 1))
    cx = torch.randint(5, size - 5, (n, 1, 1))
    r = torch.randint(2, 6, (n, 1, 1))
    mask = ((yy - cy) ** 2 + (xx - cx) ** 2 <= r**2).float().unsqueeze(1)
    image = 0.7 * mask + 0.3 * torch.randn(n, 1, size, size)
    return image, mask


def double_conv(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
        nn.Conv2d(cout, cout, 3, padding=1),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, n_classes=1):
        super().__init__()
        self.down1 = double_conv(1, 8)
        self.down2 = double_conv(8, 16)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.conv = double_conv(16, 8)
        self.outc = nn.Conv2d(8, n_classes, 1)

    def forward(self, x):
        x1 = self.down1(x)
        x2 = self.down2(self.pool(x1))
        x = self.conv(torch.cat([x1, self.up(x2)], dim=1))
        logits = self.outc(x)
        return logits


def dice(prob, target):
    pred = (prob > 0.5).float()
    inter = (pred * target).sum()
    return (2 * inter / (pred.sum() + target.sum() + 1e-6)).item()


def main():
    cfg = Config()
    torch.manual_seed(3)
    train_loader = DataLoader(TensorDataset(*make_blobs(cfg.n_train, cfg.size)), cfg.batch_size, shuffle=True)
    val_images, val_masks = make_blobs(cfg.n_val, cfg.size)

    net = UNet()
    optimizer = optim.AdamW(net.parameters(), lr=cfg.lr)
    criterion = nn.BCEWithLogitsLoss()

    for epoch in range(cfg.epochs):
        net.train()
        epoch_loss, seen = 0.0, 0
        for images, true_masks in train_loader:
            masks_pred = net(images)
            loss = criterion(masks_pred, true_masks)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * images.size(0)
            seen += images.size(0)

        net.eval()
        with torch.no_grad():
            score = dice(torch.sigmoid(net(val_images)), val_masks)
        print(f"epoch {epoch + 1}/{cfg.epochs}  loss {epoch_loss / seen:.4f}  val dice {score:.3f}")


if __name__ == "__main__":
    main()
