"""A net of three layers with dropout, and a schedule: about 1 ms a step."""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = int(sys.argv[1])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 128)
        self.second = nn.Linear(128, 128)
        self.last = nn.Linear(128, 10)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        x = self.dropout(F.relu(self.first(x)))
        x = self.dropout(F.relu(self.second(x)))
        return self.last(x)


def train_one_epoch(model, loader, optimizer, schedule):
    model.train()
    total = 0.0
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


torch.manual_seed(0)
inputs = torch.randn(10 * 1024, 64)
targets = (inputs @ torch.randn(64, 10)).argmax(1)
train = DataLoader(TensorDataset(inputs[:8192], targets[:8192]), batch_size=32, shuffle=True)
valid = DataLoader(TensorDataset(inputs[8192:], targets[8192:]), batch_size=64)
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * len(train))

for _ in range(EPOCHS):
    began = time.process_time()
    loss = train_one_epoch(model, train, optimizer, schedule)
    accuracy = evaluate(model, valid)
    print(time.process_time() - began, len(train), loss, accuracy)
