"""Breast cancer classification, prints an exponentially smoothed training loss like progress bars do.

Source: boschresearch/Continuous-Recurrent-Units#4
"""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def get_data():
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=3, stratify=y)
    mu, sigma = X_train.mean(0), X_train.std(0)
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    return to((X_train - mu) / sigma), to((X_test - mu) / sigma), to(y_train), to(y_test)


class Progress:
    def __init__(self, beta=0.9):
        self.beta = beta
        self.avg = None
        self.count = 0

    def update(self, loss):
        self.count += 1
        if self.avg is None:
            self.avg = loss
        else:
            self.avg = self.beta * self.avg + (1 - self.beta) * loss  # expect: graph-kept-across-steps

    def show(self, prefix):
        print(f"{prefix} [{self.count:3d}] loss={self.avg:.4f}")


def main():
    torch.manual_seed(3)
    X_train, X_test, y_train, y_test = get_data()
    loader = DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    bce = nn.BCEWithLogitsLoss()
    bar = Progress()

    for epoch in range(4):
        model.train()
        for xb, yb in loader:
            loss = bce(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.update(loss)  # expect: graph-kept-across-steps
        bar.show(f"epoch {epoch}")

    model.eval()
    with torch.no_grad():
        acc = ((model(X_test) > 0) == (y_test > 0.5)).float().mean().item()
    print(f"test accuracy {acc:.3f}")


if __name__ == "__main__":
    main()
