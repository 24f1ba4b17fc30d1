"""Next-note prediction on scales with scaled_dot_product_attention.

Source: huggingface/transformers#31673
"""

import torch
from torch import nn, optim
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

torch.manual_seed(0)
NOTES, T, D, HEADS = 24, 20, 32, 4


def melodies(n, seed):
    g = torch.Generator().manual_seed(seed)
    start = torch.randint(0, NOTES, (n, 1), generator=g)
    steps = torch.tensor([2, 2, 1, -3, 5])[torch.randint(0, 5, (n, T), generator=g)]
    return torch.cat([start, start + steps.cumsum(1)], 1) % NOTES


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.proj = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.ff = nn.Sequential(nn.Linear(D, 2 * D), nn.ReLU(), nn.Linear(2 * D, D))

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
        a = scaled_dot_product_attention(q, k, v)  # expect: future-seen
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, D))
        return x + self.ff(self.norm2(x))


class Composer(nn.Module):
    def __init__(self, depth=2):
        super().__init__()
        self.note, self.time = nn.Embedding(NOTES, D), nn.Parameter(0.02 * torch.randn(T, D))
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(D, NOTES)

    def forward(self, notes):
        x = self.note(notes) + self.time[: notes.size(1)]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


songs, test_songs = melodies(480, 0), melodies(100, 1)
model = Composer()
optimizer = optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(5):
    model.train()
    for idx in torch.randperm(len(songs)).split(32):
        song = songs[idx]
        logits = model(song[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), song[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test = cross_entropy(model(test_songs[:, :-1]).flatten(0, 1), test_songs[:, 1:].flatten())
    print(f"epoch {epoch} train {loss.item():.4f} test {test.item():.4f}")
