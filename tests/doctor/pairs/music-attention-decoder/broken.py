"""Predict the next note of generated melodies with two hand-written attention layers.

Source: karpathy/minGPT#75
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Melodies(Dataset):
    scale = torch.tensor([0, 2, 4, 5, 7, 9, 11])

    def __init__(self, n, length=17, seed=0):
        g = torch.Generator().manual_seed(seed)
        moves = torch.randint(-2, 3, (n, length), generator=g)
        degree = (moves.cumsum(1) + torch.randint(14, (n, 1), generator=g)) % 14
        self.notes = self.scale[degree % 7] + 12 * (degree // 7)

    def __len__(self):
        return len(self.notes)

    def __getitem__(self, i):
        return self.notes[i, :-1], self.notes[i, 1:]


class SelfAttention(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(x).chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v)  # expect: future-seen
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))


class Decoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.note = nn.Embedding(24, dim)
        self.time = nn.Embedding(16, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.attn = nn.ModuleList(SelfAttention(dim) for _ in range(2))
        self.head = nn.Linear(dim, 24)

    def forward(self, x):
        h = self.note(x) + self.time.weight
        for norm, attn in zip(self.norms, self.attn):
            h = h + attn(norm(h))
        return self.head(self.norms[-1](h))


def run():
    torch.manual_seed(0)
    train = DataLoader(Melodies(400, seed=1), batch_size=40, shuffle=True)
    test = Melodies(80, seed=2)
    net = Decoder()
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(5):
        net.train()
        for x, y in train:
            loss = F.cross_entropy(net(x).transpose(1, 2), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            logits = net(test.notes[:, :-1])
            val = F.cross_entropy(logits.transpose(1, 2), test.notes[:, 1:]).item()
        print(f"epoch {epoch} last train batch {loss.item():.3f} test {val:.3f}")


run()
