"""RankNet: all pairs of one query are compared through a difference of broadcast scores.

Source: allegro/allRank
"""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

torch.manual_seed(3)
n_queries, n_docs, dim = 90, 8, 6
w = torch.randn(dim)
docs = torch.randn(n_queries, n_docs, dim)
relevance = ((docs @ w) + 0.5 * torch.randn(n_queries, n_docs)).clamp(-2, 2).round()
train_docs, train_rel, test_docs, test_rel = docs[:60], relevance[:60], docs[60:], relevance[60:]

scorer = nn.Sequential(nn.Linear(dim, 24), nn.ReLU(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(scorer.parameters(), lr=1e-2)


def ranknet_loss(scores, rel):
    # (N, 1) - (1, N): every document against every other on purpose
    difference = scores.unsqueeze(1) - scores.unsqueeze(0)
    better = rel.unsqueeze(1) - rel.unsqueeze(0)
    pairs = better != 0
    return binary_cross_entropy_with_logits(difference[pairs], (better[pairs] > 0).float())


def pair_accuracy(docs, rels):
    scorer.eval()
    right = total = 0
    with torch.no_grad():
        for d, r in zip(docs, rels):
            s = scorer(d).squeeze(1)
            better = (r[:, None] - r[None, :]) > 0
            right += ((s[:, None] - s[None, :])[better] > 0).sum().item()
            total += better.sum().item()
    return right / total


for epoch in range(3):
    scorer.train()
    for q in torch.randperm(len(train_docs)).tolist():
        loss = ranknet_loss(scorer(train_docs[q]).squeeze(1), train_rel[q])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: pairs in order {pair_accuracy(test_docs, test_rel):.4f}")
