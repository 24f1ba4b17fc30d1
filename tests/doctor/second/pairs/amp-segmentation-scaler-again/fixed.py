"""Tiny U-Net that segments bright squares, with autocast and a gradient scaler.

Source: milesial/Pytorch-UNet#468
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Squares(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.mask = torch.zeros(n, 1, 16, 16)
        for m in self.mask:
            r, c = torch.randint(0, 10, (2,), generator=g).tolist()
            m[0, r : r + 5, c : c + 5] = 1.0
        self.image = self.mask + 0.7 * torch.randn(n, 1, 16, 16, generator=g)

    def __len__(self):
        return len(self.mask)

    def __getitem__(self, i):
        return {"image": self.image[i], "mask": self.mask[i]}


class MiniUNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.inc = nn.Conv2d(1, c, 3, padding=1)
        self.down = nn.Conv2d(c, 2 * c, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.outc = nn.Conv2d(2 * c, 1, 1)

    def forward(self, x):
        a = F.relu(self.inc(x))
        b = F.relu(self.down(F.max_pool2d(a, 2)))
        return self.outc(torch.cat([a, self.up(b)], dim=1))


def dice(logits, mask):
    p = (logits > 0).float()
    return ((2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)).item()


train_loader = DataLoader(Squares(192, 1), batch_size=16, shuffle=True)
val_loader = DataLoader(Squares(48, 2), batch_size=48)
net = MiniUNet()
optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
max_norm = 1.0

for epoch in range(1, 4):
    net.train()
    epoch_loss = 0.0
    for batch in train_loader:
        images, true_masks = batch["image"], batch["mask"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            masks_pred = net(images)
            loss = F.binary_cross_entropy_with_logits(masks_pred.float(), true_masks)
        optimizer.zero_grad(set_to_none=True)
        grad_scaler.scale(loss).backward()
        grad_scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm)
        grad_scaler.step(optimizer)
        grad_scaler.update()
        epoch_loss += loss.item() * len(images)
    net.eval()
    with torch.no_grad():
        scores = [dice(net(b["image"]), b["mask"]) for b in val_loader]
    print(f"epoch {epoch} loss {epoch_loss / 192:.4f} dice {sum(scores) / len(scores):.4f}")
