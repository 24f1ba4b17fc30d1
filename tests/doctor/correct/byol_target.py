"""BYOL: the online network predicts the projection of a slowly moving target network.

Source: lucidrains/byol-pytorch
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn, optim


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self, net, tau=0.98):
        super().__init__()
        self.online = net
        self.target = copy.deepcopy(net)
        for p in self.target.parameters():
            p.requires_grad_(False)
        self.predictor = mlp(16, 32, 16)
        self.tau = tau

    @torch.no_grad()
    def update_target(self):
        for online, target in zip(self.online.parameters(), self.target.parameters()):
            target.lerp_(online, 1 - self.tau)

    def forward(self, one, two):
        pred_one, pred_two = self.predictor(self.online(one)), self.predictor(self.online(two))
        with torch.no_grad():
            proj_one, proj_two = self.target(one), self.target(two)
        return (
            2 - 2 * F.cosine_similarity(pred_one, proj_two) + 2 - 2 * F.cosine_similarity(pred_two, proj_one)
        ).mean()


def two_views(x):
    return x + 0.3 * torch.randn_like(x), x * (torch.rand_like(x) > 0.1)


torch.manual_seed(77)
images = torch.randn(480, 4) @ torch.randn(4, 30) * 0.7
learner = BYOL(mlp(30, 64, 16))
opt = optim.Adam([*learner.online.parameters(), *learner.predictor.parameters()], lr=2e-3)

step = 0
while step < 60:
    for batch in torch.randperm(len(images)).split(48):
        loss = learner(*two_views(images[batch]))
        opt.zero_grad()
        loss.backward()
        opt.step()
        learner.update_target()  # update moving average of target encoder
        step += 1
        if step % 20 == 0:
            print(step, f"{loss.item():.4f}")
