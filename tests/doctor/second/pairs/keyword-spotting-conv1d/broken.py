"""Keyword spotting on synthetic tones with 1-D convolutions.

Source: Deep-learning-activity-recognition#10
"""

import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Tones(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.label = torch.randint(0, 4, (n,), generator=g)
        t = torch.arange(64) / 64
        freq = 3 + 3 * self.label[:, None]
        phase = 2 * math.pi * torch.rand(n, 1, generator=g)
        self.wave = torch.sin(2 * math.pi * freq * t + phase) + 0.8 * torch.randn(n, 64, generator=g)

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return self.wave[i].unsqueeze(0), self.label[i]


class KeywordNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 12, 9, stride=2, padding=4)
        self.conv2 = nn.Conv1d(12, 16, 5, stride=2, padding=2)
        self.fc = nn.Linear(16 * 4, classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.adaptive_avg_pool1d(x, 4).flatten(1)
        return F.softmax(self.fc(x), dim=-1)  # expect: softmax-before-cross-entropy


def train_epoch(net, loader, criterion, optimizer):
    net.train()
    meter = 0.0
    for wave, label in loader:
        optimizer.zero_grad()
        loss = criterion(net(wave), label)
        loss.backward()
        optimizer.step()
        meter += loss.item() * wave.size(0)
    return meter / len(loader.dataset)


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        return sum((net(w).argmax(1) == y).sum().item() for w, y in loader) / len(loader.dataset)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", default=4, type=int)
    p.add_argument("--lr", default=4e-3, type=float)
    opt = p.parse_args()
    torch.manual_seed(0)
    train_loader = DataLoader(Tones(512, 0), batch_size=32, shuffle=True)
    test_loader = DataLoader(Tones(256, 1), batch_size=128)
    net = KeywordNet()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.Adam(net.parameters(), lr=opt.lr)
    for e in range(opt.epochs):
        loss = train_epoch(net, train_loader, criterion, optimizer)
        print(f"{e}: loss {loss:.4f} accuracy {accuracy(net, test_loader):.4f}")
