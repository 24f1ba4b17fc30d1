"""Transfer learning: the loaded backbone is frozen and kept in eval mode, only a new head is trained.

Source: pytorch/tutorials transfer_learning_tutorial
"""

import io

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(13, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 32), nn.ReLU()
        )
        self.fc = nn.Linear(32, 13)

    def forward(self, x):
        return self.fc(self.layers(x))


def pretrained_weights(x):
    """Learn to denoise the inputs; returns a checkpoint in memory."""
    net = Backbone()
    opt = optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        rows = torch.randint(0, len(x), (64,))
        opt.zero_grad()
        loss = nn.functional.mse_loss(net(x[rows] + 0.3 * torch.randn(64, 13)), x[rows])
        loss.backward()
        opt.step()
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    return buffer


class FrozenClassifier(nn.Module):
    def __init__(self, checkpoint):
        super().__init__()
        self.backbone = Backbone()
        self.backbone.load_state_dict(torch.load(checkpoint, weights_only=True))
        for param in self.backbone.parameters():
            param.requires_grad = False
        self.backbone.fc = nn.Linear(32, 3)  # new layers require gradients by default

    def train(self, mode=True):
        super().train(mode)
        self.backbone.layers.eval()
        return self

    def forward(self, x):
        return self.backbone(x)


torch.manual_seed(0)
features, labels = load_wine(return_X_y=True)
order = torch.randperm(len(labels))
features, labels = torch.tensor(features, dtype=torch.float32)[order], torch.tensor(labels)[order]
mean, std = features[:120].mean(0), features[:120].std(0)
features = (features - mean) / std
train_ds, val_ds = TensorDataset(features[:120], labels[:120]), TensorDataset(features[120:], labels[120:])
dataloaders = {"train": DataLoader(train_ds, batch_size=16, shuffle=True), "val": DataLoader(val_ds, batch_size=58)}

model_conv = FrozenClassifier(pretrained_weights(features[:120]))
criterion = nn.CrossEntropyLoss()
optimizer_conv = optim.SGD(model_conv.backbone.fc.parameters(), lr=0.05, momentum=0.9)
exp_lr_scheduler = optim.lr_scheduler.StepLR(optimizer_conv, step_size=4, gamma=0.3)

for epoch in range(6):
    for phase in ["train", "val"]:
        model_conv.train(phase == "train")
        running_loss, running_corrects = 0.0, 0
        for inputs, targets in dataloaders[phase]:
            optimizer_conv.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model_conv(inputs)
                _, preds = torch.max(outputs, 1)
                loss = criterion(outputs, targets)
                if phase == "train":
                    loss.backward()
                    optimizer_conv.step()
            running_loss += loss.item() * inputs.size(0)
            running_corrects += torch.sum(preds == targets.data).item()
        if phase == "train":
            exp_lr_scheduler.step()
        n = len(dataloaders[phase].dataset)
        print(f"{epoch} {phase} Loss: {running_loss / n:.4f} Acc: {running_corrects / n:.4f}")
