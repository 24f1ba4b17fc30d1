"""Find round blobs in noisy pictures with a small U-Net."""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset


class BlobDataset(Dataset):
    """Pictures with one bright disc; the mask says where it is."""

    def __init__(self, n, size=16, augment=False):
        self.augment = augment
        grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).float()
        centres = torch.rand(n, 2) * (size - 6) + 3
        radii = torch.rand(n) * 2 + 2
        distance = ((grid[None] - centres[:, :, None, None]) ** 2).sum(dim=1).sqrt()
        self.masks = (distance < radii[:, None, None]).float().unsqueeze(1)
        self.images = self.masks * 0.6 + 0.25 * torch.randn(n, 1, size, size)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index].clone()
        mask = self.masks[index]
        if self.augment:
            image += 0.1 * torch.randn_like(image)
            if torch.rand(1).item() < 0.5:
                image, mask = image.flip(-1), mask.flip(-1)
        return image, mask


def double_conv(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, widths=(6, 12, 24)):
        super().__init__()
        self.downs = nn.ModuleList([double_conv(i, o) for i, o in zip((1, *widths[:-2]), widths[:-1])])
        self.bottleneck = double_conv(widths[-2], widths[-1])
        self.ups = nn.ModuleList([nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in zip(widths[:0:-1], widths[-2::-1])])
        self.decoders = nn.ModuleList([double_conv(2 * o, o) for o in widths[-2::-1]])
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x):
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips)):
            x = up(x)
            x = decoder(torch.cat([skip, x], dim=1))
        return self.head(x)


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for images, masks in loader:
        logits = model(images)
        loss = criterion(logits, masks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(images)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader, criterion):
    model.eval()
    total, overlap, areas = 0.0, 0.0, 0.0
    for images, masks in loader:
        logits = model(images)
        total += criterion(logits, masks).item() * len(images)
        predicted = (logits > 0).float()
        overlap += (predicted * masks).sum().item()
        areas += predicted.sum().item() + masks.sum().item()
    return total / len(loader.dataset), 2 * overlap / max(areas, 1.0)


def main():
    torch.manual_seed(3)
    train_set = BlobDataset(100, augment=True)
    val_set = BlobDataset(30, augment=False)
    train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=16, shuffle=False)

    model = UNet()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)

    for epoch in range(3):
        train_loss = train_one_epoch(model, train_loader, optimizer, criterion)
        val_loss, dice = evaluate(model, val_loader, criterion)
        scheduler.step()
        print(f"[{epoch}] train {train_loss:.5f}  val {val_loss:.5f}  dice {dice:.4f}")


if __name__ == "__main__":
    main()
