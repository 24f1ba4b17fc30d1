"""Contrastive pretraining of an encoder on digits, then a linear probe.

Source: pytorch/pytorch#148259
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
labels = torch.tensor(digits.target)
shuffled = torch.randperm(len(images))
images, labels = images[shuffled], labels[shuffled]
train_x, test_x = images[:1024], images[1024:]
train_y, test_y = labels[:1024], labels[1024:]


def augment(x):
    dx, dy = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(x, (dx, dy), dims=(2, 3)) + 0.1 * torch.randn_like(x)


encoder = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32))
projector = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))


def nt_xent(z1, z2, temperature=0.05):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    sim = z @ z.t() / temperature
    sim.fill_diagonal_(float("-inf"))
    n = len(z1)
    positives = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, positives)


parameters = list(filter(lambda p: p.requires_grad, [*encoder.parameters(), *projector.parameters()]))
optimizer = torch.optim.SGD(parameters, lr=0.3, momentum=0.9)
for epoch in range(2):
    for idx in torch.randperm(len(train_x)).split(128):
        x = train_x[idx]
        loss = nt_xent(projector(encoder(augment(x))), projector(encoder(augment(x))))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm=0.5)
        optimizer.step()
    print("pretrain epoch", epoch, "nt-xent", round(loss.item(), 4))

with torch.no_grad():
    feats_train, feats_test = encoder(train_x), encoder(test_x)
probe = nn.Linear(32, 10)
probe_opt = torch.optim.Adam(probe.parameters(), lr=0.05)
for _ in range(40):
    probe_opt.zero_grad()
    F.cross_entropy(probe(feats_train), train_y).backward()
    probe_opt.step()
with torch.no_grad():
    print("probe accuracy", (probe(feats_test).argmax(1) == test_y).float().mean().item())
