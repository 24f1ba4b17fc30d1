"""Causal transformer with a boolean causal mask and a padding mask; padded targets are ignored, inputs shifted by one.

Source: pytorch/examples word_language_model transformer
"""

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD, BOS, EOS, VOCAB = 0, 1, 2, 24


class Countdown(Dataset):
    """Sequences that go down by one or two until they reach the bottom."""

    def __init__(self, n, seed, without=()):
        g = torch.Generator().manual_seed(seed)
        taken, self.rows = {tuple(r.tolist()) for r in without}, []
        while len(self.rows) < n:
            value, row = int(torch.randint(12, VOCAB, (1,), generator=g)), [BOS]
            while value > EOS:
                row.append(value)
                value -= 1 + int(torch.randint(0, 2, (1,), generator=g))
            row.append(EOS)
            if tuple(row) not in taken:
                taken.add(tuple(row))
                self.rows.append(torch.tensor(row))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(rows):
    batch = pad_sequence(rows, batch_first=True, padding_value=PAD)
    return batch[:, :-1], batch[:, 1:]


class Decoder(nn.Module):
    def __init__(self, d=32, max_len=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCAB, d, padding_idx=PAD), nn.Embedding(max_len, d)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, VOCAB)

    def forward(self, x):
        T = x.size(1)
        causal = torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)
        h = self.tok(x) + self.pos(torch.arange(T))
        return self.out(self.layers(h, mask=causal, src_key_padding_mask=x == PAD))


torch.manual_seed(0)
train_set = Countdown(300, 0)
train_loader = DataLoader(train_set, batch_size=20, shuffle=True, collate_fn=collate)
valid_loader = DataLoader(Countdown(80, 1, without=train_set.rows), batch_size=40, collate_fn=collate)
model = Decoder()
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(3):
    model.train()
    for x, y in train_loader:
        loss = criterion(model(x).transpose(1, 2), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    nll, tokens = 0.0, 0
    with torch.no_grad():
        for x, y in valid_loader:
            n = (y != PAD).sum().item()
            nll += criterion(model(x).transpose(1, 2), y).item() * n
            tokens += n
    print(f"epoch {epoch} train {loss.item():.3f} valid nll per token {nll / tokens:.4f}")
