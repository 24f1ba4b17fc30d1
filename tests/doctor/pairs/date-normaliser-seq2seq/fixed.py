"""Sequence to sequence: rewrite spoken numbers as digits with an encoder-decoder GRU.

Source: lucidrains/DALLE-pytorch#57
"""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(0)
torch.manual_seed(0)

WORDS = "zero one two three four five six seven eight nine".split()
PAD, SOS, EOS = 0, 1, 2
src_vocab = {w: i + 3 for i, w in enumerate(WORDS)}
OUT = 13


def make_pair():
    digits = [random.randrange(10) for _ in range(random.choice([4, 4, 5, 5, 6, 14]))]
    return [src_vocab[WORDS[d]] for d in digits], [d + 3 for d in digits]


def pad(rows):
    width = max(map(len, rows))
    return torch.tensor([r + [PAD] * (width - len(r)) for r in rows])


def batch(pairs):
    src = pad([s for s, _ in pairs])
    lengths = torch.tensor([len(s) for s, _ in pairs])
    tgt_in = pad([[SOS] + t for _, t in pairs])
    tgt_out = pad([t + [EOS] for _, t in pairs])
    return src, lengths, tgt_in, tgt_out


class Seq2Seq(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.src_embed = nn.Embedding(13, dim, padding_idx=PAD)
        self.tgt_embed = nn.Embedding(OUT, dim, padding_idx=PAD)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.decoder = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, OUT)

    def forward(self, src, lengths, tgt_in):
        packed = nn.utils.rnn.pack_padded_sequence(self.src_embed(src), lengths, batch_first=True, enforce_sorted=False)
        _, h = self.encoder(packed)
        out, _ = self.decoder(self.tgt_embed(tgt_in), h)
        return self.out(out)


pairs = [make_pair() for _ in range(600)]
valid = [make_pair() for _ in range(100)]
model = Seq2Seq()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

for epoch in range(4):
    model.train()
    random.shuffle(pairs)
    for i in range(0, len(pairs), 30):
        src, lengths, tgt_in, tgt_out = batch(pairs[i : i + 30])
        logits = model(src, lengths, tgt_in)
        loss = F.cross_entropy(logits.flatten(0, 1), tgt_out.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        src, lengths, tgt_in, tgt_out = batch(valid)
        hit = (model(src, lengths, tgt_in).argmax(-1) == tgt_out)[tgt_out != PAD].float().mean()
    print(f"epoch {epoch}: last loss {loss.item():.4f}  token accuracy {hit:.4f}")
