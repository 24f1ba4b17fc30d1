"""Self-supervised pairs with a predictor and a stopped gradient, as in SimSiam.

Source: lightly-ai/lightly#1438
"""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
centres = torch.randn(4, 10) * 2
kind = torch.randint(0, 4, (512,))
x = centres[kind] + 0.5 * torch.randn(512, 10)
encoder = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
predictor = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
opt = torch.optim.SGD([*encoder.parameters(), *predictor.parameters()], lr=0.05, momentum=0.9)


def view(v):
    return v + 0.3 * torch.randn_like(v)


for epoch in range(6):
    encoder.train()
    for idx in torch.randperm(512).split(64):
        z1, z2 = encoder(view(x[idx])), encoder(view(x[idx]))
        p1, p2 = predictor(z1), predictor(z2)
        loss = -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
encoder.eval()
with torch.no_grad():
    z = F.normalize(encoder(x), dim=1)
    sim = z @ z.t()
    sim.fill_diagonal_(-1)
print(
    "nearest neighbour of the same kind",
    (kind[sim.argmax(1)] == kind).float().mean().item(),
    "spread",
    round(z.std(0).mean().item(), 4),
)
