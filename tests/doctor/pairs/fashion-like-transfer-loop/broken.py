"""The usual train/val phase loop with running loss, on synthetic garments.

Source: pytorch/tutorials#179
"""

import time

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
classes = ["shirt", "shoe", "bag", "hat"]
templates = torch.rand(len(classes), 1, 10, 10)


def make(n):
    y = torch.randint(len(classes), (n,))
    return TensorDataset(templates[y] + 0.6 * torch.randn(n, 1, 10, 10), y)


datasets = {"train": make(512), "val": make(128)}
dataloaders = {p: DataLoader(d, batch_size=32, shuffle=p == "train") for p, d in datasets.items()}
dataset_sizes = {p: len(d) for p, d in datasets.items()}


def train_model(model, criterion, optimizer, num_epochs=3):
    since = time.time()
    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        print("-" * 10)
        for phase in ["train", "val"]:
            model.train(phase == "train")
            running_loss = 0.0
            running_corrects = 0

            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item()  # expect: loss-not-averaged-as-reported
                running_corrects += torch.sum(preds == labels).item()

            epoch_loss = running_loss / dataset_sizes[phase]  # expect: loss-not-averaged-as-reported
            epoch_acc = running_corrects / dataset_sizes[phase]
            print(f"{phase} Loss: {epoch_loss:.4f} Acc: {epoch_acc:.4f}")
    return time.time() - since


net = nn.Sequential(
    nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 4)
)
train_model(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.02, momentum=0.9))
