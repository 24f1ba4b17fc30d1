"""Iris with a Dataset class and a DataLoader, as a first exercise.

Source: Deci-AI/super-gradients#416
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_iris
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class IrisDataset(Dataset):
    """Every fifth flower of a species is for testing, the others for training."""

    def __init__(self, train):
        iris = load_iris()
        held_out = torch.arange(150) % 5 == 0
        keep = ~held_out if train else held_out
        data = torch.tensor(iris.data, dtype=torch.float32)
        mean, std = data[~held_out].mean(0), data[~held_out].std(0)
        self.x = ((data - mean) / std)[keep]
        self.y = torch.tensor(iris.target)[keep]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


train_data = IrisDataset(train=True)
test_data = IrisDataset(train=False)
train_loader = DataLoader(train_data, batch_size=10, shuffle=True)
test_loader = DataLoader(test_data, batch_size=10)

model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(10):
    model.train()
    train_loss = 0
    for features, species in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(features), species)
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * len(species)
    model.eval()
    correct = 0
    with torch.no_grad():
        for features, species in test_loader:
            correct += (model(features).argmax(1) == species).sum().item()
    print("Epoch", epoch, "loss", round(train_loss / len(train_data), 4), "accuracy", correct / len(test_data))
