"""nn.Transformer that sorts digits of varying length, padded batches.

Source: microsoft/DeepSpeedExamples#809
"""

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(0)
PAD, BOS, EOS, VOCAB = 0, 1, 2, 13


def samples(n, seed):
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        length = int(torch.randint(2, 9, (1,), generator=g))
        src = torch.randint(3, VOCAB, (length,), generator=g)
        tgt = torch.cat([torch.tensor([BOS]), src.sort().values, torch.tensor([EOS])])
        out.append((src, tgt))
    return out


def collate_fn(batch):
    src, tgt = zip(*batch)
    return pad_sequence(src, batch_first=True, padding_value=PAD), pad_sequence(
        tgt, batch_first=True, padding_value=PAD
    )


class Sorter(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, d, padding_idx=PAD)
        self.pos = nn.Embedding(12, d)
        self.core = nn.Transformer(d, 2, 1, 1, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(d, VOCAB)

    def embed(self, t):
        return self.emb(t) + self.pos(torch.arange(t.size(1)))

    def forward(self, src, tgt_in):
        causal = torch.triu(torch.ones(tgt_in.size(1), tgt_in.size(1), dtype=torch.bool), 1)
        h = self.core(
            self.embed(src),
            self.embed(tgt_in),
            tgt_mask=causal,
            src_key_padding_mask=src == PAD,
            tgt_key_padding_mask=tgt_in == PAD,
            memory_key_padding_mask=src == PAD,
        )
        return self.out(h)


model = Sorter()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
loader = DataLoader(samples(384, 0), batch_size=32, shuffle=True, collate_fn=collate_fn)
held_out = collate_fn(samples(100, 1))
for epoch in range(3):
    model.train()
    for src, tgt in loader:
        logits = model(src, tgt[:, :-1])
        loss = criterion(logits.reshape(-1, VOCAB), tgt[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        src, tgt = held_out
        guess, want = model(src, tgt[:, :-1]).argmax(-1), tgt[:, 1:]
        acc = (guess == want)[want != PAD].float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} token accuracy {acc:.4f}")
