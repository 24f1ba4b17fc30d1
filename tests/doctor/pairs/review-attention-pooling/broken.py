"""Sentiment of synthetic reviews: word embeddings pooled with learned attention.

Source: PetrochukM/PyTorch-NLP#2
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(21)
VOCAB, LENGTH, DIM = 120, 16, 16


def reviews(n):
    y = torch.randint(2, (n,))
    x = torch.randint(20, VOCAB, (n, LENGTH))
    # ids 0-9 are negative words, 10-19 positive ones; two per review, somewhere
    for i in range(n):
        place = torch.randperm(LENGTH)[:2]
        x[i, place] = torch.randint(10, (2,)) + 10 * y[i]
    return TensorDataset(x, y.float())


class AttentionPool(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, h):
        # h: (batch, words, dim)
        weight = torch.softmax(self.score(h), dim=0)  # expect: softmax-over-batch  # may: examples-mixed-in-batch
        return (weight * h).sum(dim=1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, DIM)
        self.pool = AttentionPool(DIM)
        self.fc = nn.Linear(DIM, 1)

    def forward(self, x):
        return self.fc(self.pool(self.embed(x))).squeeze(1)


train_loader = DataLoader(reviews(640), batch_size=32, shuffle=True)
test_loader = DataLoader(reviews(200), batch_size=50)
model = Model()
opt = optim.Adam(model.parameters(), lr=1e-2)
bce = nn.BCEWithLogitsLoss()

for epoch in range(5):
    model.train()
    for x, y in train_loader:
        loss = bce(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        right = sum(((model(x) > 0) == (y > 0.5)).sum().item() for x, y in test_loader)
    print(f"epoch {epoch}  last loss {loss.item():.4f}  test acc {right / 200:.3f}")
