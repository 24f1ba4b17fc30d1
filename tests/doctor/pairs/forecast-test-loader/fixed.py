"""Forecasting benchmark on a synthetic load curve: MLP, train and test loaders.

Source: thuml/Autoformer#104
"""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class LoadCurve(Dataset):
    def __init__(self, flag, seq_len=24, pred_len=4):
        rng = np.random.default_rng(0)
        t = np.arange(900)
        x = np.sin(2 * np.pi * t / 24) + 0.3 * np.sin(2 * np.pi * t / 168) + 0.1 * rng.normal(size=900)
        x[830:] += np.linspace(0, 2.5, 70)  # a warm spell at the end
        border = {"train": (0, 640), "test": (640 - seq_len, 900)}[flag]
        mean, std = x[:640].mean(), x[:640].std()
        self.data = torch.tensor((x[slice(*border)] - mean) / std, dtype=torch.float32)
        self.seq_len, self.pred_len = seq_len, pred_len

    def __getitem__(self, i):
        mid = i + self.seq_len
        return self.data[i:mid], self.data[mid : mid + self.pred_len]

    def __len__(self):
        return len(self.data) - self.seq_len - self.pred_len + 1


def data_provider(args, flag):
    if flag == "test":
        shuffle_flag, drop_last = False, False
    else:
        shuffle_flag, drop_last = True, True
    data_set = LoadCurve(flag)
    return data_set, DataLoader(
        data_set,
        batch_size=args.batch_size,
        shuffle=shuffle_flag,
        drop_last=drop_last,
    )


def test(model, loader):
    model.eval()
    preds, trues = [], []
    with torch.no_grad():
        for x, y in loader:
            preds.append(model(x))
            trues.append(y)
    return ((torch.cat(preds) - torch.cat(trues)) ** 2).mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch_size", type=int, default=96)
    parser.add_argument("--train_epochs", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(2021)
    _, train_loader = data_provider(args, "train")
    _, test_loader = data_provider(args, "test")
    model = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 4))
    optim = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.MSELoss()
    for epoch in range(args.train_epochs):
        model.train()
        for x, y in train_loader:
            optim.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optim.step()
        if epoch % 5 == 4:
            print(f"Epoch: {epoch + 1} last train batch {loss.item():.4f} test mse {test(model, test_loader):.4f}")


main()
