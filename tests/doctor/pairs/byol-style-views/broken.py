"""Self-supervised view agreement (BYOL style) on the digits, checked with nearest neighbours.

Source: facebookresearch/WMReward#11
"""

import copy

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32) / 16
X_train, y_train, X_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]


def augment(x):
    img = x.view(-1, 8, 8)
    dy, dx = torch.randint(-1, 2, (2,)).tolist()
    img = torch.roll(img, (dy, dx), dims=(1, 2))
    return (img.reshape(-1, 64) + 0.1 * torch.randn(len(x), 64)) * (torch.rand(len(x), 64) > 0.1)


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


online = nn.Sequential(mlp(64, 96, 48), mlp(48, 48, 24))
predictor = mlp(24, 24, 24)
target = copy.deepcopy(online)
for p in target.parameters():
    p.requires_grad_(False)

opt = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=2e-3)


def regression_loss(p, z):
    return 2 - 2 * F.cosine_similarity(p, z, dim=0).mean()  # expect: loss-over-wrong-dimension


for epoch in range(4):
    online.train()
    predictor.train()
    target.train()
    total = 0.0
    for idx in torch.randperm(1400).split(100):
        a, b = augment(X_train[idx]), augment(X_train[idx])
        with torch.no_grad():
            ta, tb = target(a), target(b)
        loss = regression_loss(predictor(online(a)), tb) + regression_loss(predictor(online(b)), ta)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(idx)
        with torch.no_grad():
            for po, pt in zip(online.parameters(), target.parameters()):
                pt.lerp_(po, 0.02)

    online.eval()
    with torch.no_grad():
        f_train, f_test = online[0](X_train).numpy(), online[0](X_test).numpy()
    knn = KNeighborsClassifier(5).fit(f_train, y_train).score(f_test, y_test)
    print(f"epoch {epoch}: loss {total / 1400:.4f}, kNN {knn:.3f}")
