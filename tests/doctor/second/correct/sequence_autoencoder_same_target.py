"""Sequence autoencoder: the targets are the inputs, through a bottleneck.

Source: stevengong.co/notes/Teacher-Forcing
"""

import torch
import torch.nn as nn

torch.manual_seed(0)
V, L = 6, 5


class Seq2SeqAE(nn.Module):
    def __init__(self, d=48, z=24):
        super().__init__()
        self.emb = nn.Embedding(V + 1, 16)
        self.enc, self.dec = nn.GRU(16, d, batch_first=True), nn.GRU(16, d, batch_first=True)
        self.squeeze, self.spread = nn.Linear(d, z), nn.Linear(z, d)
        self.out = nn.Linear(d, V)

    def forward(self, s):
        _, h = self.enc(self.emb(s))
        h = torch.tanh(self.spread(self.squeeze(h)))
        start = torch.full((len(s), 1), V)
        y, _ = self.dec(self.emb(torch.cat([start, s[:, :-1]], 1)), h)
        return self.out(y)


net = Seq2SeqAE()
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for it in range(150):
    s = torch.randint(0, V, (48, L))
    loss = nn.functional.cross_entropy(net(s).flatten(0, 1), s.flatten())
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 50 == 49:
        print(it + 1, round(loss.item(), 4))
with torch.no_grad():
    s = torch.randint(0, V, (200, L))
    print("tokens right", (net(s).argmax(-1) == s).float().mean().item())
