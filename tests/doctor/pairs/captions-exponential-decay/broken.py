"""Next-symbol GRU with an exponential decay of ten percent an epoch.

Source: aimagelab/meshed-memory-transformer#71
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Adam, lr_scheduler


@dataclass
class HParams:
    epochs: int = 8
    batch: int = 20
    lr: float = 1e-2
    gamma: float = 0.9
    vocab: int = 10
    length: int = 14


class NextSymbol(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.emb = nn.Embedding(hp.vocab, 16)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.fc = nn.Linear(32, hp.vocab)

    def forward(self, s):
        return self.fc(self.gru(self.emb(s))[0])


class Trainer:
    def __init__(self, hp):
        self.hp = hp
        self.model = NextSymbol(hp)
        self.opt = Adam(self.model.parameters(), lr=hp.lr)
        self.sched = lr_scheduler.ExponentialLR(self.opt, gamma=hp.gamma)
        self.crit = nn.CrossEntropyLoss()

    def loss(self, s):
        return self.crit(self.model(s[:, :-1]).transpose(1, 2), s[:, 1:])

    def step(self, s):
        self.opt.zero_grad()
        loss = self.loss(s)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.opt.step()
        self.sched.step()  # expect: scheduler-per-batch-meant-per-epoch
        return loss.item()

    def fit(self, train, valid):
        for epoch in range(self.hp.epochs):
            self.model.train()
            losses = [self.step(s) for s in train[torch.randperm(len(train))].split(self.hp.batch)]
            self.model.eval()
            with torch.no_grad():
                val = self.loss(valid).item()
            print(f"epoch {epoch}: train {sum(losses) / len(losses):.4f} valid {val:.4f}")


def sequences(n, hp):
    # a Fibonacci-like rule modulo the vocabulary size
    s = torch.randint(hp.vocab, (n, hp.length))
    for i in range(2, hp.length):
        s[:, i] = (s[:, i - 1] + s[:, i - 2]) % hp.vocab
    return s


torch.manual_seed(0)
hp = HParams()
Trainer(hp).fit(sequences(400, hp), sequences(80, hp))
