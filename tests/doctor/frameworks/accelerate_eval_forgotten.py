# needs: accelerate
"""Digits with batch norm and dropout through Accelerate, scored after each epoch."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

accelerator = Accelerator(cpu=True)
torch.manual_seed(5)
images, labels = load_digits(return_X_y=True)
whole = TensorDataset(torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels))
train_set, test_set = random_split(whole, [1408, 389])
model = nn.Sequential(
    nn.Conv2d(1, 12, 3, padding=1),
    nn.BatchNorm2d(12),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Dropout(0.4),
    nn.Linear(192, 10),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
model, optimizer, train_dl, test_dl = accelerator.prepare(
    model, optimizer, DataLoader(train_set, batch_size=64, shuffle=True), DataLoader(test_set, batch_size=64)
)


def score():
    hits = 0
    with torch.no_grad():
        for x, y in test_dl:
            hits += (model(x).argmax(1) == y).sum().item()  # expect: evaluated-in-training-mode
    return hits / len(test_set)


for epoch in range(3):
    model.train()
    for x, y in train_dl:
        optimizer.zero_grad()
        accelerator.backward(nn.functional.cross_entropy(model(x), y))
        optimizer.step()
    print(f"epoch {epoch}: accuracy {score():.4f}")
