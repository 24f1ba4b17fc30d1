"""Recognise movements from six sensor channels with an LSTM and attention pooling."""

import logging
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim import Adam, lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
log = logging.getLogger("sensors")

MOVEMENTS = ["walk", "run", "climb", "rest"]
CHANNELS, STEPS = 6, 16


def record(per_movement):
    """Recordings of one movement after the other; channel 5 is not connected."""
    signals, targets = [], []
    for target in range(len(MOVEMENTS)):
        t = torch.arange(STEPS).float().expand(per_movement, CHANNELS, STEPS)
        speed = 0.3 + 0.25 * target
        phase = 6.28 * torch.rand(per_movement, CHANNELS, 1)
        signal = (4 - target) * torch.sin(speed * t + phase) + 1.0 * torch.randn(per_movement, CHANNELS, STEPS)
        signal[:, 5] = 0.0
        signals.append(signal)
        targets += [target] * per_movement
    return torch.cat(signals), torch.tensor(targets)


class SensorNet(nn.Module):
    def __init__(self, hidden=24, dropout=0.2):
        super().__init__()
        self.lstm = nn.LSTM(CHANNELS, hidden, batch_first=True)
        self.attention = nn.Linear(hidden, 1)
        self.classifier = nn.Linear(hidden, len(MOVEMENTS))
        self.p = dropout

    def forward(self, x):
        x = x.permute(0, 2, 1)  # (batch, channels, time) -> (batch, time, channels)
        states, _ = self.lstm(x)
        weights = F.softmax(self.attention(states), dim=1)
        pooled = (weights * states).sum(dim=1)
        pooled = F.dropout(pooled, self.p, training=self.training)
        return self.classifier(pooled)


class Meter:
    """A mean weighted by batch sizes."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, value, n):
        self.total += value * n
        self.count += n

    def compute(self):
        return self.total / self.count


def main():
    torch.manual_seed(77)
    train_x, train_y = record(60)
    test_x, test_y = record(20)
    mean = train_x.mean(dim=(0, 2), keepdim=True)
    std = train_x.std(dim=(0, 2), keepdim=True) + 1e-6
    train_x = (train_x - mean) / std
    test_x = (test_x - mean) / std

    train_set, test_set = TensorDataset(train_x, train_y), TensorDataset(test_x, test_y)
    train_dl = DataLoader(train_set, batch_size=32, shuffle=True)
    test_dl = DataLoader(test_set, batch_size=32)

    model = SensorNet()
    optimizer = Adam(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.85)
    train_loss, test_loss, test_accuracy = Meter(), Meter(), Meter()

    for epoch in range(4):
        train_loss.reset()
        model.train()
        for x, y in train_dl:
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            train_loss.update(loss.item(), len(y))
        scheduler.step()

        test_loss.reset()
        test_accuracy.reset()
        model.eval()
        with torch.no_grad():
            for x, y in test_dl:
                logits = model(x)
                test_loss.update(F.cross_entropy(logits, y).item(), len(y))
                test_accuracy.update((logits.argmax(dim=1) == y).float().mean().item(), len(y))
        log.info(
            "epoch %d  train %.5f  test %.5f  accuracy %.4f",
            epoch,
            train_loss.compute(),
            test_loss.compute(),
            test_accuracy.compute(),
        )


if __name__ == "__main__":
    main()
