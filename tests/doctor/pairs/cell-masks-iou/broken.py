"""Cell mask prediction, trained on the overlap of the predicted with the true mask.

Source: ronghuaiyang/arcface-pytorch#56
"""

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def make_cells(n, size=14):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    center = torch.randint(4, size - 4, (n, 2, 1, 1))
    radius = 2 + 2 * torch.rand(n, 1, 1)
    mask = ((yy - center[:, 0]) ** 2 + (xx - center[:, 1]) ** 2).float() <= radius**2
    img = mask.float() * 0.8 + 0.35 * torch.randn(n, size, size)
    return img.unsqueeze(1), mask.long()


class IoULoss(nn.Module):
    def forward(self, logits, mask):
        fg = logits.argmax(dim=1).float()  # expect: loss-detached
        inter = (fg * mask).sum(dim=(1, 2))
        union = (fg + mask - fg * mask).sum(dim=(1, 2))
        loss = (1 - (inter + 1) / (union + 1)).mean()
        return loss.requires_grad_(True)  # expect: loss-detached


net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)
)
criterion = IoULoss()
optimizer = optim.Adam(net.parameters(), lr=1e-2)
train_loader = DataLoader(TensorDataset(*make_cells(128)), batch_size=16, shuffle=True)
val_x, val_y = make_cells(64)

for epoch in range(4):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        pred = net(val_x).argmax(dim=1)
        iou = ((pred & val_y).sum() / (pred | val_y).sum()).item()
    print("epoch %d, val IoU %.3f" % (epoch, iou))
