"""Classifier as a module with its own validation step, and a helper for the accuracy.

Source: StatQuest/signa#12
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=4)
args = parser.parse_args()


def accuracy(outputs, labels):
    preds = torch.argmax(F.softmax(outputs, dim=1), dim=0)  # expect: predictions-over-wrong-dimension
    return torch.sum(preds == labels).item() / len(preds)


class Quadrants(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 4))

    def forward(self, x):
        return self.net(x)

    def validation_step(self, batch):
        x, y = batch
        out = self(x)
        return accuracy(out, y)


torch.manual_seed(0)
x = torch.randn(400, 5)
y = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
model = Quadrants()
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
for epoch in range(3):
    model.train()
    for rows in torch.randperm(320).split(16):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        steps = [
            model.validation_step((x[k : k + args.batch], y[k : k + args.batch])) for k in range(320, 400, args.batch)
        ]
    print("epoch", epoch, "accuracy", sum(steps) / len(steps))
