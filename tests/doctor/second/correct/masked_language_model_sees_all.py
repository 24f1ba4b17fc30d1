"""Masked language model: attention in both directions, targets are the masked tokens.

Source: huggingface/transformers#17121
"""

import torch
from torch import nn

torch.manual_seed(0)
V, T, MASK = 12, 10, 0


def text(n):
    s = torch.randint(1, V, (n, 1))
    return 1 + (s - 1 + torch.arange(T) * torch.randint(1, 4, (n, 1))) % (V - 1)


class Bert(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, d), nn.Parameter(0.02 * torch.randn(T, d))
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, V)

    def forward(self, x):
        return self.out(self.enc(self.tok(x) + self.pos))


def mask(x, p=0.2):
    hidden = torch.rand(x.shape) < p
    hidden[:, 0] |= ~hidden.any(1)
    return x.masked_fill(hidden, MASK), x.masked_fill(~hidden, -100)


net = Bert()
opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
for it in range(120):
    inp, tgt = mask(text(32))
    loss = nn.functional.cross_entropy(net(inp).transpose(1, 2), tgt, ignore_index=-100)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 40 == 39:
        print(it + 1, round(loss.item(), 4))
net.eval()
with torch.no_grad():
    inp, tgt = mask(text(200))
    known = tgt != -100
    print("masked tokens recovered", (net(inp).argmax(-1) == tgt)[known].float().mean().item())
