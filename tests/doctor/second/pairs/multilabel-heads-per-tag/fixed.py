"""Multi-label tagging with a little net per tag over a shared trunk.

Source: asyml/texar-pytorch#72
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
TAGS = ["urgent", "billing", "bug", "praise", "question"]


def head(width):
    return nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 1))


class Tagger(nn.Module):
    def __init__(self, n_words, width=24):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_words, width), nn.ReLU())
        self.heads = nn.ModuleDict({t: head(width) for t in TAGS})

    def forward(self, bag):
        h = self.trunk(bag)
        return torch.cat([self.heads[t](h) for t in TAGS], dim=1)


def tickets(n):
    bag = (torch.rand(n, 40) < 0.15).float()
    topics = torch.randn(40, len(TAGS), generator=torch.Generator().manual_seed(3))
    return TensorDataset(bag, (bag @ topics > 0).float())


train_loader = DataLoader(tickets(600), batch_size=50, shuffle=True)
test_bag, test_tags = tickets(200).tensors

tagger = Tagger(40)
optimizer = torch.optim.Adam(tagger.parameters(), lr=0.01)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(1, 7):
    tagger.train()
    running = 0.0
    for bag, tags in train_loader:
        optimizer.zero_grad()
        loss = criterion(tagger(bag), tags)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(bag)
    print(f"Epoch {epoch} | loss {running / 600:.4f}")

tagger.eval()
with torch.no_grad():
    hits = ((tagger(test_bag) > 0).float() == test_tags).float().mean(0)
for tag, h in zip(TAGS, hits.tolist()):
    print(f"{tag:10s}{h:.3f}")
