"""Metric learning with batch-hard triplets; batches hold P classes with K examples each.

Source: adambielski/siamese-triplet
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset


class BalancedBatchSampler(Sampler):
    """Samples n_classes and within these n_samples each."""

    def __init__(self, labels, n_classes, n_samples, n_batches):
        self.by_class = {c: np.flatnonzero(labels == c) for c in np.unique(labels)}
        self.n_classes, self.n_samples, self.n_batches = n_classes, n_samples, n_batches

    def __iter__(self):
        for _ in range(self.n_batches):
            classes = np.random.choice(list(self.by_class), self.n_classes, replace=False)
            yield [int(i) for c in classes for i in np.random.choice(self.by_class[c], self.n_samples, replace=False)]

    def __len__(self):
        return self.n_batches


def batch_hard(embeddings, labels, margin=0.3):
    distance = torch.cdist(embeddings, embeddings)
    same = labels[:, None] == labels[None, :]
    hardest_positive = (distance * same).max(1).values
    hardest_negative = distance.masked_fill(same, float("inf")).min(1).values
    return F.relu(hardest_positive - hardest_negative + margin).mean()


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(64, 96), nn.PReLU(), nn.Linear(96, 16))

    def forward(self, x):
        return F.normalize(self.fc(x), dim=1)


np.random.seed(0)
torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
split = np.random.permutation(len(y))
tr, te = split[:1200], split[1200:]
X = torch.tensor(X / 16, dtype=torch.float32)
train_set = TensorDataset(X[tr], torch.tensor(y[tr]))
loader = DataLoader(train_set, batch_sampler=BalancedBatchSampler(y[tr], 8, 6, 15))
net = EmbeddingNet()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

for epoch in range(4):
    net.train()
    total = 0.0
    for x, labels in loader:
        loss = batch_hard(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    with torch.no_grad():
        gallery, queries = net(X[tr]), net(X[te])
        nearest = torch.cdist(queries, gallery).argmin(1).numpy()
    print(f"epoch {epoch}: triplet loss {total / len(loader):.4f}, recall@1 {(y[tr][nearest] == y[te]).mean():.4f}")
