"""Sentiment on a toy vocabulary with an embedding bag and dropout on the features.

Source: rixwew/pytorch-fm#21
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

torch.manual_seed(0)
VOCAB = 60


def make_reviews(n, seed):
    g = torch.Generator().manual_seed(seed)
    tone = torch.randn(VOCAB, generator=torch.Generator().manual_seed(0))
    out = []
    for _ in range(n):
        words = torch.randint(0, VOCAB, (int(torch.randint(4, 15, (1,), generator=g)),), generator=g)
        out.append((words, int(tone[words].sum() > 0)))
    return out


def collate(items):
    words, labels = zip(*items)
    lengths = torch.tensor([0] + [len(w) for w in words[:-1]])
    return torch.cat(words), lengths.cumsum(0), torch.tensor(labels)


class BowNet(nn.Module):
    def __init__(self, vocab, dim=32):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, dim, mode="sum")
        self.hidden = nn.Linear(dim, 32)
        self.out = nn.Linear(32, 2)

    def forward(self, words, offsets):
        h = F.relu(self.hidden(self.bag(words, offsets)))
        h = F.dropout(h, p=0.4)  # expect: randomness-left-on-in-evaluation
        return self.out(h)


train_loader = DataLoader(make_reviews(480, 1), batch_size=32, shuffle=True, collate_fn=collate)
test_loader = DataLoader(make_reviews(240, 2), batch_size=60, collate_fn=collate)
model = BowNet(VOCAB)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(5):
    model.train()
    for words, offsets, labels in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(words, offsets), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for words, offsets, labels in test_loader:
            correct += (model(words, offsets).argmax(1) == labels).sum().item()
    print(f"epoch {epoch} loss {loss.item():.4f} accuracy {correct / 240:.4f}")
