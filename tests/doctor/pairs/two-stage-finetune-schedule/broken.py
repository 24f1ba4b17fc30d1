"""Two stages: first the head on a frozen feature net, then everything, with a decaying rate.

Source: pbaylies/stylegan2#5
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

torch.manual_seed(0)
d = load_digits()
x = torch.tensor(d.data, dtype=torch.float32) / 16
y = torch.tensor(d.target)
train_x, train_y, test_x, test_y = x[:1300], y[:1300], x[1300:], y[1300:]

features = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
head = nn.Linear(64, 10)
model = nn.Sequential(features, head)
criterion = nn.CrossEntropyLoss()


def run_epoch(optimizer):
    model.train()
    total = 0.0
    for idx in torch.randperm(len(train_x)).split(65):
        loss = criterion(model(train_x[idx]), train_y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    return total / len(train_x)


@torch.no_grad()
def accuracy():
    model.eval()
    return (model(test_x).argmax(1) == test_y).float().mean().item()


# stage 1: the head
features.requires_grad_(False)
optimizer = SGD(head.parameters(), lr=0.3)
for epoch in range(2):
    loss = run_epoch(optimizer)
print(f"stage 1: loss {loss:.4f} acc {accuracy():.4f}")

# stage 2: the whole network
features.requires_grad_(True)
epochs = 6
full_optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9)
scheduler = CosineAnnealingLR(optimizer, T_max=epochs)  # expect: scheduler-for-another-optimizer
for epoch in range(epochs):
    loss = run_epoch(full_optimizer)
    scheduler.step()  # may: scheduler-before-optimizer
    rate = full_optimizer.param_groups[0]["lr"]
    print(f"stage 2 epoch {epoch}: loss {loss:.4f} acc {accuracy():.4f} next lr {rate:.4f}")
