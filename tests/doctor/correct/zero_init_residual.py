"""Residual network whose branches start at zero and whose last layer starts at zero as well.

Source: pytorch/vision resnet zero_init_residual
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class BasicBlock(nn.Module):
    def __init__(self, planes):
        super().__init__()
        self.conv1 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(x + self.bn2(self.conv2(out)))


class ResNet(nn.Module):
    def __init__(self, zero_init_residual=True):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.layers = nn.Sequential(BasicBlock(12), BasicBlock(12))
        self.fc = nn.Linear(12 * 4, 10)
        self.pool = nn.AdaptiveAvgPool2d(2)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        # each residual block behaves like an identity at first (https://arxiv.org/abs/1706.02677)
        if zero_init_residual:
            for m in self.modules():
                if isinstance(m, BasicBlock):
                    nn.init.constant_(m.bn2.weight, 0)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x):
        return self.fc(self.pool(self.layers(self.stem(x))).flatten(1))


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
labels = torch.tensor(labels)
p = torch.randperm(len(labels))
train_loader = DataLoader(TensorDataset(images[p[:1280]], labels[p[:1280]]), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(images[p[1280:]], labels[p[1280:]]), batch_size=128)
model, criterion = ResNet(), nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.3)

for epoch in range(3):
    model.train()
    for x, t in train_loader:
        loss = criterion(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, t in val_loader:
            correct += (model(x).argmax(1) == t).sum().item()
    print(f"epoch {epoch} loss {loss.item():.3f} val acc {correct / len(val_loader.dataset):.4f}")
