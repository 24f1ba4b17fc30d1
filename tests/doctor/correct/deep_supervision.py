"""U-Net-like segmentation with auxiliary losses at lower resolutions (deep supervision).

Source: MrGiovanni/UNetPlusPlus
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2, self.mid = block(1, 6), block(6, 12), block(12, 16)
        self.u2, self.u1 = block(28, 12), block(18, 6)
        self.heads = nn.ModuleList([nn.Conv2d(6, 1, 1), nn.Conv2d(12, 1, 1), nn.Conv2d(16, 1, 1)])

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        d = self.u2(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        e = self.u1(torch.cat([F.interpolate(d, scale_factor=2), a], 1))
        if not self.training:
            return self.heads[0](e)
        return self.heads[0](e), self.heads[1](d), self.heads[2](c)


def discs(n, size=16):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    c, r = torch.randint(4, 12, (n, 2, 1, 1)), torch.rand(n, 1, 1) * 2 + 2
    mask = (((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2) < r**2).float().unsqueeze(1)
    return mask + 0.5 * torch.randn(n, 1, size, size), mask


torch.manual_seed(0)
train, (vx, vy) = TensorDataset(*discs(128)), discs(48)
net = UNet()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
weights = [1.0, 0.5, 0.25]
for epoch in range(3):
    net.train()
    for x, y in DataLoader(train, batch_size=16, shuffle=True):
        loss = 0.0
        for w, out in zip(weights, net(x)):
            target = F.interpolate(y, size=out.shape[-2:], mode="area")
            loss = loss + w * F.binary_cross_entropy_with_logits(out, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        predicted = net(vx) > 0
    iou = ((predicted & (vy > 0)).sum() / (predicted | (vy > 0)).sum()).item()
    print(f"epoch {epoch}: loss {loss.item():.4f} val IoU {iou:.4f}")
