"""Reverse a sequence with an attentive encoder-decoder; teacher forcing in training, greedy decoding in evaluation.

Source: pytorch/tutorials seq2seq_translation_tutorial
"""

import random

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOS, EOS, VOCAB, LEN = 0, 1, 12, 5


class Seq2Seq(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d)
        self.encoder = nn.GRU(d, d, batch_first=True)
        self.cell = nn.GRUCell(2 * d, d)
        self.out = nn.Linear(2 * d, VOCAB)

    def forward(self, source, target=None, teacher_forcing=0.0):
        memory, h = self.encoder(self.embed(source))
        h = h[0]
        token = torch.full((source.size(0),), SOS)
        steps = LEN + 1 if target is None else target.size(1)
        logits = []
        for t in range(steps):
            weights = torch.bmm(memory, h.unsqueeze(2)).softmax(dim=1)
            context = (weights * memory).sum(1)
            h = self.cell(torch.cat([self.embed(token), context], 1), h)
            step = self.out(torch.cat([h, context], 1))
            logits.append(step)
            if target is not None and random.random() < teacher_forcing:
                token = target[:, t]
            else:
                token = step.argmax(1).detach()  # detach from history as input
        return torch.stack(logits, 1)


random.seed(1)
torch.manual_seed(1)
source = torch.randint(2, VOCAB, (1100, LEN)).unique(dim=0)
source = source[torch.randperm(len(source))]
target = torch.cat([source.flip(1), torch.full((len(source), 1), EOS)], 1)
n = 900
train_loader = DataLoader(TensorDataset(source[:n], target[:n]), batch_size=45, shuffle=True)
model = Seq2Seq()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
criterion = nn.CrossEntropyLoss()

for epoch in range(4):
    model.train()
    total = 0.0
    for src, tgt in train_loader:
        logits = model(src, tgt, teacher_forcing=0.8)
        loss = criterion(logits.reshape(-1, VOCAB), tgt.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(src)
    model.eval()
    with torch.no_grad():
        decoded = model(source[n:]).argmax(-1)
    right = decoded == target[n:]
    print(
        f"epoch {epoch} loss {total / n:.3f} tokens right {right.float().mean():.3f} sequences right {right.all(1).float().mean():.3f}"
    )
