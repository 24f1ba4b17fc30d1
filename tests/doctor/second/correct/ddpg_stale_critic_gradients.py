"""DDPG on a one-dimensional regulator; the actor's backward also fills the critic's gradients.

Source: seungeunrho/minimalRL#41
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1), nn.Tanh())

    def forward(self, s):
        return self.net(s)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, s, a):
        return self.net(torch.cat([s, a], dim=1))


def environment(s, a):
    s2 = 0.9 * s + 0.5 * a + 0.05 * torch.randn_like(s)
    return s2, -(s2**2) - 0.01 * a**2


mu, q = Actor(), Critic()
mu_target, q_target = copy.deepcopy(mu), copy.deepcopy(q)
mu_opt, q_opt = torch.optim.Adam(mu.parameters(), lr=2e-3), torch.optim.Adam(q.parameters(), lr=5e-3)
buffer = []
s = torch.randn(32, 1)
for it in range(80):
    with torch.no_grad():
        a = (mu(s) + 0.3 * torch.randn_like(s)).clamp(-1, 1)
        s2, r = environment(s, a)
    buffer.append((s, a, r, s2))
    s = s2 if it % 20 else torch.randn(32, 1)
    bs, ba, br, bs2 = (torch.cat(col)[-1024:] for col in zip(*buffer))
    pick = torch.randint(0, len(bs), (64,))
    bs, ba, br, bs2 = bs[pick], ba[pick], br[pick], bs2[pick]
    target = br + 0.9 * q_target(bs2, mu_target(bs2))
    q_loss = F.smooth_l1_loss(q(bs, ba), target.detach())
    q_opt.zero_grad()
    q_loss.backward()
    q_opt.step()

    mu_loss = -q(bs, mu(bs)).mean()  # leaves gradients in q, cleared above in the next turn
    mu_opt.zero_grad()
    mu_loss.backward()
    mu_opt.step()
    for net, tgt in ((mu, mu_target), (q, q_target)):
        for p, tp in zip(net.parameters(), tgt.parameters()):
            tp.data.copy_(0.05 * p.data + 0.95 * tp.data)
    if it % 20 == 19:
        print(f"{it + 1} q loss {q_loss.item():.4f} mu loss {mu_loss.item():.4f} reward {r.mean().item():.4f}")
