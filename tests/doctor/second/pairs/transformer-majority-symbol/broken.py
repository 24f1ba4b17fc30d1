"""Transformer encoder that finds the majority symbol; validates every few iterations.

Source: open-mmlab/mmaction2#1781
"""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--iters", type=int, default=60)
parser.add_argument("--eval_interval", type=int, default=15)
parser.add_argument("--lr", type=float, default=3e-3)
args = parser.parse_args()
torch.manual_seed(0)


class Majority(nn.Module):
    def __init__(self, symbols=4, dim=16):
        super().__init__()
        self.tok = nn.Embedding(symbols, dim)
        layer = nn.TransformerEncoderLayer(dim, 2, 32, dropout=0.2, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 1)
        self.cls = nn.Linear(dim, symbols)

    def forward(self, x):
        return self.cls(self.enc(self.tok(x)).mean(1))


def batch(n, g=None):
    x = torch.randint(0, 4, (n, 9), generator=g)
    return x, nn.functional.one_hot(x, 4).sum(1).argmax(1)


val_x, val_y = batch(128, torch.Generator().manual_seed(99))


def validate(model):
    model.eval()
    with torch.no_grad():
        logits = model(val_x)
        loss = nn.functional.cross_entropy(logits, val_y).item()
        acc = (logits.argmax(-1) == val_y).float().mean().item()
    return loss, acc


model = Majority()
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
model.train()
for it in range(1, args.iters + 1):
    x, y = batch(32)
    loss = nn.functional.cross_entropy(model(x), y)  # expect: trained-in-eval-mode
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if it % args.eval_interval == 0:
        val_loss, val_acc = validate(model)
        print(f"iter {it} train {loss.item():.4f} val {val_loss:.4f} acc {val_acc:.3f}")
