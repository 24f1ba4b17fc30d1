"""Spot the rare wine with a weighted sampler."""

import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def load():
    wine = load_wine()
    x = torch.tensor(wine.data, dtype=torch.float32)
    y = torch.tensor((wine.target == 2).astype(int))
    train_idx, test_idx = train_test_split(range(len(y)), test_size=0.3, random_state=0, stratify=y)
    x_train, x_test, y_train, y_test = x[train_idx], x[test_idx], y[train_idx], y[test_idx]
    mu, sigma = x_train.mean(0), x_train.std(0)
    return (x_train - mu) / sigma, y_train, (x_test - mu) / sigma, y_test


class ResidualMLP(nn.Module):
    def __init__(self, features, width=20, depth=3):
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.blocks = nn.ModuleList([self.block(width) for _ in range(depth)])
        self.classifier = nn.Linear(width, 1)

    @staticmethod
    def block(width):
        return nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.Dropout(0.1))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.classifier(x).squeeze(-1)


def main(seed=23, epochs=4, batch_size=16):
    torch.manual_seed(seed)
    x_train, y_train, x_test, y_test = load()
    counts = torch.bincount(y_train)
    class_weights = len(y_train) / (2.0 * counts)
    sample_weights = class_weights[y_train]
    sampler = WeightedRandomSampler(sample_weights, num_samples=len(y_train), replacement=True)

    train_loader = DataLoader(TensorDataset(x_train, y_train.float()), batch_size=batch_size, sampler=sampler)
    test_loader = DataLoader(TensorDataset(x_test, y_test.float()), batch_size=batch_size)

    model = ResidualMLP(x_train.shape[1])
    bce = nn.BCEWithLogitsLoss()
    opt = Adam(model.parameters(), lr=3e-3)

    for epoch in range(epochs):
        model.train()
        train_loss, train_n = 0.0, 0
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = bce(model(xb), yb)
            loss.backward()
            opt.step()
            train_loss += loss.item() * xb.size(0)
            train_n += xb.size(0)

        model.eval()
        test_loss, test_n, tp, fp, fn = 0.0, 0, 0, 0, 0
        with torch.no_grad():
            for xb, yb in test_loader:
                logits = model(xb)
                test_loss += bce(logits, yb).item() * xb.size(0)
                test_n += xb.size(0)
                found = logits > 0
                tp += (found & (yb == 1)).sum().item()
                fp += (found & (yb == 0)).sum().item()
                fn += (~found & (yb == 1)).sum().item()
        f1 = 2 * tp / max(2 * tp + fp + fn, 1)
        print(f"epoch {epoch} | train {train_loss / train_n:.5f} | test {test_loss / test_n:.5f} | F1 {f1:.4f}")


if __name__ == "__main__":
    main()
