"""Reverse-and-shift toy translation with nn.Transformer and teacher forcing.

Source: IpsumDominum/Pytorch-Simple-Transformer#3
"""

import torch
from torch import nn

torch.manual_seed(1)
PAD, BOS, EOS, V, L = 0, 1, 2, 14, 7


def pairs(n):
    body = torch.randint(3, V, (n, L))
    src = body
    out = 3 + (body.flip(1) - 3 + 1) % (V - 3)
    tgt = torch.cat([torch.full((n, 1), BOS), out, torch.full((n, 1), EOS)], dim=1)
    return src, tgt


class Translator(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.src_tok = nn.Embedding(V, d)
        self.tgt_tok = nn.Embedding(V, d)
        self.pos = nn.Parameter(0.1 * torch.randn(L + 2, d))
        self.transformer = nn.Transformer(d, 2, 1, 1, 64, dropout=0.0, batch_first=True)
        self.generator = nn.Linear(d, V)

    def forward(self, src, tgt):
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        s = self.src_tok(src) + self.pos[: src.size(1)]
        t = self.tgt_tok(tgt) + self.pos[: tgt.size(1)]
        return self.generator(self.transformer(s, t, tgt_mask=mask))


@torch.no_grad()
def greedy(model, src):
    ys = torch.full((src.size(0), 1), BOS)
    for _ in range(L):
        ys = torch.cat([ys, model(src, ys)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ys


model = Translator()
loss_fn = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.05)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
train_src, train_tgt = pairs(640)
test_src, test_tgt = pairs(60)

for epoch in range(3):
    model.train()
    losses = 0.0
    for idx in torch.randperm(640).split(40):
        src, tgt = train_src[idx], train_tgt[idx]
        logits = model(src, tgt[:, :-1])
        loss = loss_fn(logits.reshape(-1, V), tgt[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += loss.item()
    model.eval()
    acc = (greedy(model, test_src)[:, 1:] == test_tgt[:, 1:-1]).float().mean()
    print(f"Epoch: {epoch}, Train loss: {losses / 16:.3f}, greedy token accuracy: {acc:.3f}")
