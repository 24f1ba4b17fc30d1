"""Point cloud labels (ground, stem, leaf) with a small PointNet, train and validation in one loop.

Source: SKrisanski/FSCT#12
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(26)


def plots(n, points=48):
    kind = torch.randint(0, 3, (n, points))
    xyz = torch.randn(n, points, 3)
    xyz[..., 2] = torch.where(kind == 0, 0.1 * xyz[..., 2], xyz[..., 2].abs() * (kind.float() + 0.3))
    xyz[..., :2] = torch.where((kind == 1).unsqueeze(2), 0.3 * xyz[..., :2], xyz[..., :2])
    return xyz, kind


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.local = nn.Sequential(nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 3))

    def forward(self, xyz):
        h = self.local(xyz)
        plot = h.max(dim=1, keepdim=True)[0].expand_as(h)
        return self.head(torch.cat([h, plot], dim=2))


model = PointNet()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loaders = {
    "train": DataLoader(TensorDataset(*plots(64)), batch_size=8, shuffle=True),
    "val": DataLoader(TensorDataset(*plots(32)), batch_size=8),
}

for epoch in range(4):
    for phase in ("train", "val"):
        model.train(phase == "train")
        running_loss, running_acc, count = 0.0, 0, 0
        for xyz, label in loaders[phase]:
            optimizer.zero_grad()
            outputs = model(xyz)
            loss = F.cross_entropy(outputs.flatten(0, 1), label.flatten())
            loss.backward()  # expect: trained-on-evaluation-data
            optimizer.step()  # expect: trained-on-evaluation-data
            running_loss += loss.item() * label.numel()
            running_acc += (outputs.argmax(2) == label).sum().item()
            count += label.numel()
        print(f"epoch {epoch} {phase:5s} loss {running_loss / count:.4f} acc {running_acc / count:.3f}")
