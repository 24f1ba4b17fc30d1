"""Pixelwise segmentation of synthetic scenes into four classes, batches of four.

Source: qubvel-org/segmentation_models.pytorch#201
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
CLASSES = 4
palette = torch.rand(CLASSES, 3)


def scenes(n, size=16):
    target = torch.zeros(n, size, size, dtype=torch.long)
    for i in range(n):
        for c in range(1, CLASSES):
            r, q = torch.randint(0, size - 6, (2,)).tolist()
            target[i, r : r + 6, q : q + 6] = c
    image = palette[target].permute(0, 3, 1, 2) + 0.25 * torch.randn(n, 3, size, size)
    return TensorDataset(image - palette.mean(), target)


class FCN(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, CLASSES, 1),
        )

    def forward(self, x):
        return self.body(x)


train_loader = DataLoader(scenes(80), batch_size=4, shuffle=True)
val_loader = DataLoader(scenes(24), batch_size=4)
model = FCN()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(3):
    model.train()
    for image, target in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(image), target)
        loss.backward()
        optimizer.step()

    model.eval()
    hits = pixels = 0
    with torch.no_grad():
        for image, target in val_loader:
            output = model(image)
            _, predicted = torch.max(output, 1)
            hits += (predicted == target).sum().item()
            pixels += target.numel()
    print(f"epoch {epoch}: last loss {loss.item():.4f}, pixel accuracy {hits / pixels:.4f}")
