"""Encoder-decoder with teacher forcing for adding small numbers written as digits.

Source: huggingface/transformers#35066
"""

import torch
from torch import nn, optim

torch.manual_seed(0)
PLUS, BOS, V, LEN = 10, 11, 12, 3


def encode(n):
    a, b = torch.randint(0, 50, (n,)), torch.randint(0, 50, (n,))
    digits = lambda v, k: torch.stack([v // 10**i % 10 for i in range(k)], 1)
    src = torch.cat([digits(a, 2), torch.full((n, 1), PLUS), digits(b, 2)], 1)
    return src, torch.cat([torch.full((n, 1), BOS), digits(a + b, LEN)], 1)


class Adder(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.emb = nn.Embedding(V, d)
        self.encoder, self.decoder = nn.GRU(d, d, batch_first=True), nn.GRU(d, d, batch_first=True)
        self.out = nn.Linear(d, V)

    def forward(self, src, dec_in):
        _, h = self.encoder(self.emb(src))
        return self.out(self.decoder(self.emb(dec_in), h)[0])

    @torch.no_grad()
    def solve(self, src):
        _, h = self.encoder(self.emb(src))
        tok, answer = torch.full((len(src), 1), BOS), []
        for _ in range(LEN):
            o, h = self.decoder(self.emb(tok), h)
            tok = self.out(o).argmax(-1)
            answer.append(tok)
        return torch.cat(answer, 1)


model = Adder()
optimizer = optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.CrossEntropyLoss()
src, tgt = encode(800)
test_src, test_tgt = encode(200)
for epoch in range(5):
    model.train()
    for idx in torch.randperm(800).split(40):
        s, t = src[idx], tgt[idx]
        logits = model(s, t[:, :-1])
        loss = criterion(logits.flatten(0, 1), t[:, :-1].flatten())  # expect: targets-not-shifted
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    digits_right = (model.solve(test_src) == test_tgt[:, 1:]).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} digits right {digits_right:.4f}")
