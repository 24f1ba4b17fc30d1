"""Toy sentiment classifier: a GRU over token ids and a small Trainer class.

Source: pytorch/pytorch#47175
"""

import random

import torch
from torch import nn, optim
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

random.seed(0)
torch.manual_seed(0)

GOOD, BAD, NEUTRAL = list(range(1, 11)), list(range(11, 21)), list(range(21, 60))


class Reviews(Dataset):
    """Random reviews, their label is the kind of opinion word that occurs more often."""

    def __init__(self, n):
        self.items = []
        for i in range(n):
            label = i % 2
            words = random.choices(NEUTRAL, k=random.randint(4, 9))
            words += random.choices(GOOD if label else BAD, k=random.randint(2, 4))
            random.shuffle(words)
            self.items.append((torch.tensor(words), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    tokens, labels = zip(*batch)
    lengths = torch.tensor([len(t) for t in tokens])
    return pad_sequence(tokens, batch_first=True), lengths, torch.tensor(labels, dtype=torch.float32)


class SentimentGRU(nn.Module):
    def __init__(self, vocab=60, dim=16, hidden=16):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, tokens, lengths):
        states, _ = self.gru(self.embed(tokens))
        last = states[torch.arange(len(tokens)), lengths - 1]
        return self.out(last).squeeze(1)


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=lr)
        self.criterion = nn.BCEWithLogitsLoss()

    def train_epoch(self, loader):
        self.model.train()
        self.optimizer.zero_grad()
        total = 0.0
        for tokens, lengths, labels in loader:
            loss = self.criterion(self.model(tokens, lengths), labels)
            loss.backward()  # expect: gradients-not-cleared
            self.optimizer.step()
            total += loss.item() * len(labels)
        return total / len(loader.dataset)

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        correct = 0
        for tokens, lengths, labels in loader:
            correct += ((self.model(tokens, lengths) > 0).float() == labels).sum().item()
        return correct / len(loader.dataset)


train_loader = DataLoader(Reviews(256), batch_size=16, shuffle=True, collate_fn=collate)
valid_loader = DataLoader(Reviews(64), batch_size=32, collate_fn=collate)
trainer = Trainer(SentimentGRU(), lr=0.3)
for epoch in range(1, 6):
    loss = trainer.train_epoch(train_loader)
    print(f"[{epoch}] train loss {loss:.4f} | valid acc {trainer.evaluate(valid_loader):.3f}")
