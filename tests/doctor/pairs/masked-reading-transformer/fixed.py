"""Fill in hidden digits of arithmetic progressions with a small transformer encoder.

Source: graykode/nlp-tutorial
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(8)
BASE, LENGTH, WIDTH, MASK = 11, 7, 32, 11


def progressions(n):
    start, stride = torch.randint(BASE, (n, 1)), torch.randint(1, 4, (n, 1))
    return (start + stride * torch.arange(LENGTH)) % BASE


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / WIDTH**0.5
        context = scores.softmax(-1) @ self.value(x)
        return self.norm(x + self.out(context))


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(BASE + 1, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(LENGTH, WIDTH))
        self.blocks = nn.ModuleList(Attention() for _ in range(2))
        self.head = nn.Linear(WIDTH, BASE)

    def forward(self, tokens):
        x = self.embed(tokens) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def hidden(rows):
    places = torch.randint(LENGTH, (len(rows),))
    given = rows.clone()
    given[torch.arange(len(rows)), places] = MASK
    return given, places


reader = Reader()
optimizer = torch.optim.AdamW(reader.parameters(), lr=3e-3)
for step in range(60):
    rows = progressions(64)
    given, places = hidden(rows)
    every = torch.arange(len(rows))
    loss = F.cross_entropy(reader(given)[every, places], rows[every, places])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step} loss {loss.item():.3f}")

reader.eval()
with torch.no_grad():
    rows = progressions(256)
    given, places = hidden(rows)
    every = torch.arange(len(rows))
    hits = (reader(given)[every, places].argmax(1) == rows[every, places]).float().mean()
print(f"right {hits.item():.3f}")
