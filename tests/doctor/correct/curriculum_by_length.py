"""Curriculum: training starts with short sequences and ends with all of them; no `shuffle` argument, own sampler.

Source: joeynmt/joeynmt length-bucketed batching
"""

import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler


class SumDataset(Dataset):
    """Is the sum of the sequence positive?"""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        lengths = torch.randint(2, 25, (n,), generator=g).tolist()
        self.items = sorted((torch.randn(l, 1, generator=g) for l in lengths), key=len)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i], float(self.items[i].sum() > 0)


class CurriculumSampler(Sampler):
    def __init__(self, dataset, batch_size, epochs):
        self.dataset, self.batch_size, self.epochs, self.epoch = dataset, batch_size, epochs, 0

    def __iter__(self):
        competence = min(1.0, (self.epoch + 1) / self.epochs * 1.5)
        allowed = list(range(int(len(self.dataset) * competence)))
        batches = [allowed[i : i + self.batch_size] for i in range(0, len(allowed), self.batch_size)]
        random.shuffle(batches)
        self.epoch += 1
        return iter(batches)


def collate(batch):
    xs, ys = zip(*batch)
    return pad_sequence(xs, batch_first=True), torch.tensor([len(x) for x in xs]), torch.tensor(ys).unsqueeze(1)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 24, batch_first=True)
        self.fc = nn.Linear(24, 1)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, h = self.rnn(packed)
        return self.fc(h[-1])


random.seed(0)
torch.manual_seed(0)
EPOCHS = 4
train_set, val_set = SumDataset(600, 1), SumDataset(200, 2)
train_loader = DataLoader(train_set, batch_sampler=CurriculumSampler(train_set, 30, EPOCHS), collate_fn=collate)
val_loader = DataLoader(val_set, batch_size=50, collate_fn=collate)
model = Classifier()
loss_fn = nn.BCEWithLogitsLoss()
opt = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(EPOCHS):
    model.train()
    n = 0
    for x, lengths, y in train_loader:
        opt.zero_grad()
        loss = loss_fn(model(x, lengths), y)
        loss.backward()
        opt.step()
        n += len(y)
    model.eval()
    hits = 0
    with torch.no_grad():
        for x, lengths, y in val_loader:
            hits += ((model(x, lengths) > 0).float() == y).sum().item()
    print(f"epoch {epoch}: trained on {n} sequences, val accuracy {hits / len(val_set):.3f}")
