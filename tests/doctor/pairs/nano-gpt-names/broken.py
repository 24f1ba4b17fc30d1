"""A very small GPT that spells made-up names.

Source: huggingface/transformers#44642
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class GPTConfig:
    vocab_size: int = 28
    block_size: int = 12
    n_head: int = 2
    n_embd: int = 32


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.n_head = cfg.n_head
        self.ln1, self.ln2 = nn.LayerNorm(cfg.n_embd), nn.LayerNorm(cfg.n_embd)
        self.qkv = nn.Linear(cfg.n_embd, 3 * cfg.n_embd)
        self.proj = nn.Linear(cfg.n_embd, cfg.n_embd)
        self.mlp = nn.Sequential(nn.Linear(cfg.n_embd, 64), nn.GELU(), nn.Linear(64, cfg.n_embd))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab_size, cfg.n_embd)
        self.wpe = nn.Embedding(cfg.block_size, cfg.n_embd)
        self.blocks = nn.Sequential(Block(cfg), Block(cfg))
        self.ln_f = nn.LayerNorm(cfg.n_embd)
        self.lm_head = nn.Linear(cfg.n_embd, cfg.vocab_size, bias=False)

    def forward(self, idx, labels=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        logits = self.lm_head(self.ln_f(self.blocks(x)))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # expect: targets-not-shifted
        return logits, loss


def make_names(n, block_size):
    onsets, vowels = "bdfklmnrst", "aeiou"
    ids = torch.zeros(n, block_size, dtype=torch.long)
    labels = torch.full((n, block_size), -100)
    for row in range(n):
        k = int(torch.randint(3, 6, ()))
        name = "".join(onsets[int(torch.randint(10, ()))] + vowels[int(torch.randint(5, ()))] for _ in range(k))
        tokens = [26] + [ord(c) - 97 for c in name] + [27]
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, : len(tokens)] = torch.tensor(tokens)
    return ids, labels


def main():
    torch.manual_seed(0)
    cfg = GPTConfig()
    train, valid = make_names(400, cfg.block_size), make_names(80, cfg.block_size)
    model = GPT(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    for epoch in range(3):
        model.train()
        for idx in torch.randperm(400).split(40):
            _, loss = model(train[0][idx], train[1][idx])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            _, val = model(*valid)
        print(f"epoch {epoch}: last train batch {loss.item():.4f} val {val.item():.4f}")


if __name__ == "__main__":
    main()
