"""Label refinement: a student learns from the mixture of teacher probabilities and labels.

Source: huangzongmou/yolov8_Distillation#16
"""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.randn(700, 8)
y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
noisy = torch.where(torch.rand(500) < 0.15, torch.randint(0, 3, (500,)), y[:500])


def mlp(width):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))


def fit(net, loss_of, epochs):
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(epochs):
        for idx in torch.randperm(500).split(50):
            opt.zero_grad()
            loss = loss_of(net(x[idx]), idx)
            loss.backward()
            opt.step()
    with torch.no_grad():
        return loss.item(), (net(x[500:]).argmax(1) == y[500:]).float().mean().item()


teacher = mlp(64)
print("teacher", [round(v, 4) for v in fit(teacher, lambda out, idx: F.cross_entropy(out, noisy[idx]), 6)])
with torch.no_grad():
    soft = F.softmax(teacher(x[:500]) / 2, dim=1)
soft = 0.5 * soft + 0.5 * F.one_hot(noisy, 3).float()


def refined(out, idx):
    # cross_entropy takes class probabilities as its target too; the softmax is on the target's side
    ce = F.cross_entropy(out, soft[idx])
    kl = F.kl_div(F.log_softmax(out, 1), soft[idx].log(), log_target=True, reduction="batchmean")
    return 0.5 * ce + 0.5 * kl


print("student", [round(v, 4) for v in fit(mlp(16), refined, 8)])
