"""SimCLR on digits: two views of each image, NT-Xent over the batch, then a linear probe.

Source: sthalles/SimCLR
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def augment(x):
    x = x + 0.1 * torch.randn_like(x)
    mask = (torch.rand_like(x) > 0.15).float()
    return x * mask * (0.8 + 0.4 * torch.rand(x.size(0), 1))


class SimCLR(nn.Module):
    def __init__(self, dim=64, out=32):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, dim), nn.BatchNorm1d(dim), nn.ReLU())
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out))

    def forward(self, x):
        return self.projector(self.encoder(x))


def info_nce_loss(features, batch_size, n_views=2, temperature=0.5):
    labels = torch.cat([torch.arange(batch_size) for _ in range(n_views)], dim=0)
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
    features = F.normalize(features, dim=1)
    similarity = features @ features.T
    # discard the main diagonal
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    similarity = similarity[~mask].view(similarity.shape[0], -1)
    positives = similarity[labels.bool()].view(labels.shape[0], -1)
    negatives = similarity[~labels.bool()].view(similarity.shape[0], -1)
    logits = torch.cat([positives, negatives], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.long))


def main():
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
    perm = torch.randperm(len(X))
    X, y = X[perm], y[perm]
    model = SimCLR()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
    # without labels; a fixed batch size for the loss, so the last few wait for the next epoch
    loader = DataLoader(TensorDataset(X[:1300]), batch_size=128, shuffle=True, drop_last=True)
    for epoch in range(4):
        model.train()
        total = 0.0
        for (x,) in loader:
            loss = info_nce_loss(model(torch.cat([augment(x), augment(x)], dim=0)), len(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"pretrain epoch {epoch}: {total / len(loader):.4f}")

    model.eval()
    with torch.no_grad():
        f_train, f_test = model.encoder(X[:1300]), model.encoder(X[1300:])
    probe = nn.Linear(64, 10)
    opt = torch.optim.Adam(probe.parameters(), lr=0.02)
    for _ in range(40):
        opt.zero_grad()
        F.cross_entropy(probe(f_train), y[:1300]).backward()
        opt.step()
    with torch.no_grad():
        print("linear probe accuracy", (probe(f_test).argmax(1) == y[1300:]).float().mean().item())


if __name__ == "__main__":
    main()
