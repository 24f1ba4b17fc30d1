"""Sequence labelling with padded batches; the loss is masked by hand.

Source: 01-ai/Yi#110
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(0)


def walk(n):
    out = []
    for _ in range(n):
        length = int(torch.randint(4, 16, (1,)))
        s = torch.randint(1, 8, (length,))
        out.append((s, (s + torch.cat([s[:1], s[:-1]])) % 3))
    return out


def collate(batch):
    s, t = zip(*batch)
    lengths = torch.tensor([len(v) for v in s])
    return pad_sequence(s, True), pad_sequence(t, True), lengths


class Labeller(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(8, 16)
        self.rnn = nn.GRU(16, 48, batch_first=True)
        self.out = nn.Linear(48, 3)

    def forward(self, s):
        return self.out(self.rnn(self.emb(s))[0])


model = Labeller()
opt = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(3):
    model.train()
    for s, t, lengths in DataLoader(walk(400), batch_size=40, shuffle=True, collate_fn=collate):
        mask = (torch.arange(s.size(1)) < lengths[:, None]).float()
        every = F.cross_entropy(model(s).transpose(1, 2), t, reduction="none")
        loss = (every * mask).sum() / mask.sum()  # padding is counted nowhere
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
model.eval()
with torch.no_grad():
    s, t, lengths = collate(walk(100))
    mask = torch.arange(s.size(1)) < lengths[:, None]
    print("accuracy", (model(s).argmax(-1) == t)[mask].float().mean().item())
