"""Patch segmentation; the predictions of the whole validation set are collected and scored at once.

Source: hszhao/semseg#60
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(16)


def patches(n):
    target = (torch.randn(n, 4, 4) > 0).long().repeat_interleave(4, 1).repeat_interleave(4, 2)
    return target.unsqueeze(1).float() + 0.9 * torch.randn(n, 1, 16, 16), target


model = nn.Sequential(
    nn.Conv2d(1, 8, 5, padding=2),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 2, 1),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
train_loader = DataLoader(TensorDataset(*patches(96)), batch_size=16, shuffle=True)
val_loader = DataLoader(TensorDataset(*patches(64)), batch_size=16)


def validate():
    model.eval()
    outputs, targets = [], []
    for input, target in val_loader:
        with torch.no_grad():
            output = model(input)
        outputs.append(output)
        targets.append(target)
    output, target = torch.cat(outputs), torch.cat(targets)
    loss = criterion(output, target)
    return loss.item(), (output.argmax(1) == target).float().mean().item()


for epoch in range(4):
    model.train()
    for input, target in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        loss.backward()
        optimizer.step()
    val_loss, val_acc = validate()
    print(f"Val result: epoch [{epoch + 1}/4] loss {val_loss:.4f} allAcc {val_acc:.4f}")
