"""A tiny GPT over arithmetic strings, with fused attention.

Source: meta-pytorch/torchtune#1049
"""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.functional import scaled_dot_product_attention as sdpa

random.seed(3)
torch.manual_seed(3)

CHARS = "0123456789+=;"
encode = {c: i for i, c in enumerate(CHARS)}


PAIRS = [(a, b) for a in range(50) for b in range(50)]
random.shuffle(PAIRS)
TRAIN, HELD_OUT = PAIRS[:2300], PAIRS[2300:]


def strings(pairs):
    return torch.tensor([[encode[c] for c in f"{a:02d}+{b:02d}={a + b:02d};"] for a, b in pairs])


class Attention(nn.Module):
    def __init__(self, dim, heads, attn_dropout):
        super().__init__()
        self.heads, self.attn_dropout = heads, attn_dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        p = self.attn_dropout if self.training else 0.0
        y = sdpa(q, k, v, dropout_p=p, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class Layer(nn.Module):
    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dropout)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, dim=32, heads=2, dropout=0.2, block=9):
        super().__init__()
        self.tok, self.pos = nn.Embedding(len(CHARS), dim), nn.Embedding(block, dim)
        self.layers = nn.Sequential(Layer(dim, heads, dropout), Layer(dim, heads, dropout))
        self.ln_f, self.head = nn.LayerNorm(dim), nn.Linear(dim, len(CHARS), bias=False)

    def forward(self, idx, targets):
        x = self.tok(idx) + self.pos(torch.arange(idx.size(1)))
        logits = self.head(self.ln_f(self.layers(x)))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
held_out = strings(HELD_OUT)
for step in range(1, 91):
    model.train()
    s = strings(random.sample(TRAIN, 32))
    _, loss = model(s[:, :-1], s[:, 1:])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if step % 30 == 0:
        model.eval()
        with torch.no_grad():
            losses = [model(held_out[:, :-1], held_out[:, 1:])[1].item() for _ in range(2)]
        print(f"step {step}: train {loss.item():.4f} val {losses[0]:.4f}, once more {losses[1]:.4f}")
