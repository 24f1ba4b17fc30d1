"""Accumulate until a budget of tokens is reached, so every update has another number of batches; the rest is stepped too.

Source: facebookresearch/fairseq --update-freq and --max-tokens
"""

import torch
from torch import nn, optim
from torch.nn.utils.rnn import pack_sequence


def make(n):
    rows = []
    for _ in range(n):
        x = torch.randn(int(torch.randint(3, 30, (1,))), 2)
        rows.append((x, (x[:, 0].mean() > x[:, 1].mean()).float()))
    return rows


torch.manual_seed(0)
train, test = make(400), make(120)
rnn, head = nn.GRU(2, 16), nn.Linear(16, 1)
params = [*rnn.parameters(), *head.parameters()]
optimizer = optim.Adam(params, lr=1e-2)
BUDGET = 500


def logits(sequences):
    _, h = rnn(pack_sequence(sequences, enforce_sorted=False))
    return head(h[0]).squeeze(1)


def update(tokens):
    for p in params:
        p.grad.div_(tokens)
    nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad()


for epoch in range(3):
    updates, tokens, total = 0, 0, 0.0
    for part in torch.randperm(400).split(10):
        xs, ys = zip(*(train[i] for i in part.tolist()))
        lengths = torch.tensor([float(len(x)) for x in xs])
        each = nn.functional.binary_cross_entropy_with_logits(logits(xs), torch.stack(ys), reduction="none")
        loss = (each * lengths).sum()
        loss.backward()
        total += loss.item()
        tokens += int(lengths.sum())
        if tokens >= BUDGET:
            update(tokens)
            tokens, updates = 0, updates + 1
    if tokens:
        update(tokens)
        updates += 1
    with torch.no_grad():
        xs, ys = zip(*test)
        acc = ((logits(xs) > 0).float() == torch.stack(ys)).float().mean().item()
    print(
        f"epoch {epoch}: {updates} updates, loss per token {total / sum(len(x) for x, _ in train):.4f}, accuracy {acc:.3f}"
    )
