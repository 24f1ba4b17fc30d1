"""Tags subtokens of identifiers, scored with an F1 metric object with update, compute and reset.

Source: JetBrains-Research/code2seq#112
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(50)


class F1Score(nn.Module):
    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        self.tp, self.fp, self.fn = 0, 0, 0

    def update(self, predicted, target):
        predicted, target = predicted.bool(), target.bool()
        self.tp += (predicted & target).sum().item()
        self.fp += (predicted & ~target).sum().item()
        self.fn += (~predicted & target).sum().item()

    def compute(self):
        return 2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)


class Tagger(nn.Module):
    def __init__(self, vocab=50, dim=12):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.conv = nn.Conv1d(dim, 16, 3, padding=1)
        self.out = nn.Conv1d(16, 1, 1)

    def forward(self, tokens):
        h = self.embed(tokens).transpose(1, 2)
        return self.out(torch.relu(self.conv(h))).squeeze(1)


def methods(n, length=8):
    tokens = torch.randint(0, 50, (n, length))
    before = torch.cat([torch.zeros(n, 1, dtype=torch.long), tokens[:, :-1]], dim=1)
    return tokens, ((tokens + before) % 50 < 15).float()


train_dl = DataLoader(TensorDataset(*methods(800)), batch_size=40, shuffle=True)
val_dl = DataLoader(TensorDataset(*methods(200)), batch_size=50)
model, criterion = Tagger(), nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
val_f1 = F1Score()

for epoch in range(6):
    model.train()
    for tokens, target in train_dl:
        optimizer.zero_grad()
        criterion(model(tokens), target).backward()
        optimizer.step()

    model.eval()
    with torch.no_grad():
        for tokens, target in val_dl:
            val_f1.update(model(tokens) > 0, target)
    print(f"epoch {epoch} | val F1 {val_f1.compute():.4f}")  # expect: metric-not-reset
