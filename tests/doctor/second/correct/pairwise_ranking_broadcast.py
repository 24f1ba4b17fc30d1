"""RankNet: scores of one query are compared with each other, an N by N table on purpose.

Source: deepset-ai/FARM#229
"""

import torch
from torch import nn

torch.manual_seed(0)
w = torch.randn(6)
queries = torch.randn(120, 10, 6)
relevance = ((queries @ w) + 0.3 * torch.randn(120, 10)).argsort(1).argsort(1).float()
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)


def ranknet(score, rel):
    diff = score.unsqueeze(1) - score.unsqueeze(0)
    want = (rel.unsqueeze(1) > rel.unsqueeze(0)).float()
    off_diagonal = ~torch.eye(len(score), dtype=torch.bool)
    return nn.functional.binary_cross_entropy_with_logits(diff[off_diagonal], want[off_diagonal])


for epoch in range(2):
    for q in torch.randperm(100).tolist():
        loss = ranknet(net(queries[q]).squeeze(1), relevance[q])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
with torch.no_grad():
    top = net(queries[100:]).squeeze(2).argmax(1)
    print("relevance of the first result", relevance[100:].gather(1, top[:, None]).mean().item(), "of at most 9")
