"""Recurrent net stepped one symbol at a time, with backward every ten symbols.

Losses are added as tensors within the window on purpose.
Source: dpressel/dliss-tutorial#1
"""

import torch
from torch import nn

torch.manual_seed(0)
seq = torch.randint(0, 5, (32, 61))
seq[:, 3:] = (seq[:, :-3] + 1) % 5  # later symbols follow from those three before
for i in range(3, 61):
    seq[:, i] = (seq[:, i - 3] + 1) % 5
cell, emb, out = nn.GRUCell(8, 32), nn.Embedding(5, 8), nn.Linear(32, 5)
params = [*cell.parameters(), *emb.parameters(), *out.parameters()]
opt = torch.optim.Adam(params, lr=0.01)
window = 10
for epoch in range(3):
    h = torch.zeros(32, 32)
    window_loss, logged = 0, []
    for i in range(60):
        h = cell(emb(seq[:, i]), h)
        window_loss = window_loss + nn.functional.cross_entropy(out(h), seq[:, i + 1])
        if (i + 1) % window == 0:
            opt.zero_grad()
            (window_loss / window).backward()
            opt.step()
            logged.append(window_loss.item() / window)
            window_loss, h = 0, h.detach()
    print(epoch, [round(v, 3) for v in logged])
