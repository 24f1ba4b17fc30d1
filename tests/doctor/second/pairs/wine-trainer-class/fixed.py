"""Tabular classifier for the wine data with a small Trainer class.

Source: patrickloeber/pytorchTutorial#19
"""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    epochs: int = 8
    batch_size: int = 16
    lr: float = 5e-3
    hidden: int = 32
    seed: int = 1


class Trainer:
    def __init__(self, model, config):
        self.model = model
        self.config = config
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)

    def _step(self, features, labels):
        logits = self.model(features)
        loss = self.criterion(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item() * len(labels)

    def fit(self, loader):
        for epoch in range(self.config.epochs):
            self.model.train()
            total = sum(self._step(x, y) for x, y in loader)
            print(f"[{epoch}] loss={total / len(loader.dataset):.4f}")

    @torch.inference_mode()
    def score(self, loader):
        self.model.eval()
        hits = sum((self.model(x).argmax(dim=-1) == y).sum().item() for x, y in loader)
        return hits / len(loader.dataset)


def main(cfg):
    torch.manual_seed(cfg.seed)
    X, y = load_wine(return_X_y=True)
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.3, stratify=y, random_state=cfg.seed)
    scaler = StandardScaler().fit(X_tr)
    make = lambda X, y: TensorDataset(torch.tensor(scaler.transform(X), dtype=torch.float32), torch.tensor(y))
    train_loader = DataLoader(make(X_tr, y_tr), batch_size=cfg.batch_size, shuffle=True)
    test_loader = DataLoader(make(X_te, y_te), batch_size=64)
    model = nn.Sequential(nn.Linear(13, cfg.hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(cfg.hidden, 3))
    trainer = Trainer(model, cfg)
    trainer.fit(train_loader)
    print("accuracy", trainer.score(test_loader))


main(Config())
