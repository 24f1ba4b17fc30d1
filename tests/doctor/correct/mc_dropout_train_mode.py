"""Rank unlabelled digits by BALD: a net without batch norm is put in train mode to draw from its dropout posterior.

Source: baal-org/baal MC-Dropout active learning
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(3)
digits = load_digits()
everything = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
order = torch.randperm(len(everything)).tolist()
test_idx, pool, labelled = order[:400], order[500:], order[400:500]
test_loader = DataLoader(Subset(everything, test_idx), batch_size=200)


def fit(net, indices, epochs=25):
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    net.train()
    for _ in range(epochs):
        for x, y in DataLoader(Subset(everything, indices), batch_size=32, shuffle=True):
            opt.zero_grad(set_to_none=True)
            F.cross_entropy(net(x), y).backward()
            opt.step()


@torch.no_grad()
def accuracy(net):
    net.eval()
    return sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader) / len(test_idx)


@torch.no_grad()
def bald(net, x, draws=12):
    net.train()  # dropout on: each pass is one draw from the posterior
    p = torch.stack([F.softmax(net(x), dim=1) for _ in range(draws)])
    net.eval()
    mean = p.mean(0)
    entropy = -(mean * mean.clamp_min(1e-9).log()).sum(1)
    expected = -(p * p.clamp_min(1e-9).log()).sum(2).mean(0)
    return entropy - expected


for round_ in range(3):
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 10))
    fit(net, labelled)
    print(f"round {round_}: {len(labelled)} labels, test accuracy {accuracy(net):.3f}")
    scores = bald(net, everything.tensors[0][pool])
    chosen = {pool[i] for i in scores.topk(50).indices.tolist()}
    labelled = labelled + sorted(chosen)
    pool = [i for i in pool if i not in chosen]
