"""Multiple-instance learning: bags of different size, padded, masked in the attention pooling.

Source: AMLab-Amsterdam/AttentionDeepMIL
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Bags(Dataset):
    """A bag is positive when one of its instances is."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.bags, self.labels = [], []
        for i in range(n):
            bag = torch.randn(int(torch.randint(3, 15, (1,), generator=g)), 6, generator=g)
            positive = i % 2
            if positive:
                bag[0] += 2.0
            self.bags.append(bag[torch.randperm(len(bag), generator=g)])
            self.labels.append(float(positive))

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, i):
        return self.bags[i], self.labels[i]


def collate(items):
    bags, labels = zip(*items)
    lengths = torch.tensor([len(b) for b in bags])
    padded = pad_sequence(bags, batch_first=True)
    mask = torch.arange(padded.size(1))[None, :] < lengths[:, None]
    return padded, mask, torch.tensor(labels)


class GatedAttention(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(6, d), nn.ReLU())
        self.V, self.U, self.w = nn.Linear(d, 12), nn.Linear(d, 12), nn.Linear(12, 1)
        self.classifier = nn.Linear(d, 1)

    def forward(self, x, mask):
        h = self.features(x)
        scores = self.w(torch.tanh(self.V(h)) * torch.sigmoid(self.U(h))).squeeze(-1)
        attention = F.softmax(scores.masked_fill(~mask, float("-inf")), dim=1)
        return self.classifier(torch.einsum("bn,bnd->bd", attention, h)).squeeze(-1)


torch.manual_seed(0)
train_loader = DataLoader(Bags(400, 0), batch_size=25, shuffle=True, collate_fn=collate)
test_loader = DataLoader(Bags(150, 1), batch_size=50, collate_fn=collate)
model = GatedAttention()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(5):
    model.train()
    for x, mask, y in train_loader:
        loss = F.binary_cross_entropy_with_logits(model(x, mask), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    errors = loss_sum = 0.0
    with torch.no_grad():
        for x, mask, y in test_loader:
            logit = model(x, mask)
            loss_sum += F.binary_cross_entropy_with_logits(logit, y, reduction="sum").item()
            errors += ((logit > 0).float() != y).sum().item()
    print(f"epoch {epoch}: test loss {loss_sum / 150:.4f} error {errors / 150:.3f}")
