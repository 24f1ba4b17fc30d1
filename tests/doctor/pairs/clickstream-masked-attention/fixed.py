"""Next-page prediction from click streams with nn.MultiheadAttention and a hand-made mask.

Source: jadore801120/attention-is-all-you-need-pytorch#19
"""

import torch
import torch.nn as nn

torch.manual_seed(2)
PAGES, STEPS = 20, 12

# every page has three likely successors
links = torch.randint(PAGES, (PAGES, 3))


def sessions(n):
    s = torch.empty(n, STEPS + 1, dtype=torch.long)
    s[:, 0] = torch.randint(PAGES, (n,))
    for t in range(STEPS):
        s[:, t + 1] = links[s[:, t], torch.randint(3, (n,))]
    return s


class ClickModel(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.page = nn.Embedding(PAGES, dim)
        self.step = nn.Embedding(STEPS, dim)
        self.attn = nn.MultiheadAttention(dim, 2, batch_first=True)
        self.ff = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PAGES))
        # True marks the positions that must not be looked at
        hidden = torch.triu(torch.ones(STEPS, STEPS), diagonal=1).bool()
        self.register_buffer("mask", hidden)

    def forward(self, x):
        h = self.page(x) + self.step(torch.arange(x.size(1)))
        a, _ = self.attn(h, h, h, attn_mask=self.mask, need_weights=False)
        return self.ff(h + a)


train, test = sessions(500), sessions(100)
model = ClickModel()
loss_fn = nn.CrossEntropyLoss()
opt = torch.optim.Adam(model.parameters(), lr=4e-3)
for epoch in range(6):
    model.train()
    for batch in train[torch.randperm(len(train))].split(50):
        opt.zero_grad()
        loss = loss_fn(model(batch[:, :-1]).reshape(-1, PAGES), batch[:, 1:].reshape(-1))
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        out = model(test[:, :-1])
        top1 = (out.argmax(-1) == test[:, 1:]).float().mean().item()
    print(f"epoch {epoch}: last loss {loss.item():.3f}, next page accuracy {top1:.3f}")
