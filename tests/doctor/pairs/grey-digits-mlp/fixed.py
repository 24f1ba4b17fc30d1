"""Classify upscaled digits stored as 8-bit grey pictures.

Source: initze/thaw-slump-segmentation#78
"""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class GreyDigits(Dataset):
    def __init__(self, first, last):
        d = load_digits()
        self.pixels = (d.images[first:last] * 255 / 16).astype(np.uint8)
        self.labels = d.target[first:last]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.pixels[i]).float() / 255, int(self.labels[i])


train_loader = DataLoader(GreyDigits(0, 1200), batch_size=60, shuffle=True)
test_loader = DataLoader(GreyDigits(1200, 1797), batch_size=199)

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10))
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.3, momentum=0.9)

for epoch in range(5):
    model.train()
    for images, labels in train_loader:
        optimizer.zero_grad()
        output = model(images)
        loss = criterion(output, labels)
        loss.backward()
        optimizer.step()

    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in test_loader:
            correct += (model(images).argmax(1) == labels).sum().item()
    print(f"epoch {epoch + 1}: last loss {loss.item():.4f} accuracy {correct / len(test_loader.dataset):.4f}")
