"""Policy gradient with reward-to-go and a learned baseline kept apart by detach.

Source: muupan/async-rl#12
"""

import torch
from torch import nn, optim
from torch.distributions import Normal

torch.manual_seed(0)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(2, 1)
        self.log_std = nn.Parameter(torch.tensor([-0.5]))

    def forward(self, s):
        return Normal(self.mean(s), self.log_std.exp())


def rollout(policy, n=16, steps=10):
    pos, vel = torch.randn(n, 1), torch.zeros(n, 1)
    S, A, R = [], [], []
    for _ in range(steps):
        s = torch.cat([pos, vel], 1)
        with torch.no_grad():
            a = policy(s).sample()
        vel = 0.8 * vel + 0.3 * a.clamp(-2, 2)
        pos = pos + vel
        S.append(s), A.append(a), R.append(-(pos**2).squeeze(1))
    return torch.stack(S), torch.stack(A), torch.stack(R)


policy, baseline = Policy(), nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
opt_pi, opt_v = optim.Adam(policy.parameters(), lr=0.03), optim.Adam(baseline.parameters(), lr=0.02)
for it in range(30):
    S, A, R = rollout(policy)
    togo = R.flip(0).cumsum(0).flip(0)
    togo = (togo - togo.mean()) / togo.std()
    value = baseline(S).squeeze(-1)
    opt_v.zero_grad()
    nn.functional.mse_loss(value, togo).backward()
    opt_v.step()
    advantage = togo - value.detach()
    # higher or lower than zero says nothing: only the gradient of this number means something
    pi_loss = -(policy(S).log_prob(A).squeeze(-1) * advantage).mean()
    opt_pi.zero_grad()
    pi_loss.backward()
    opt_pi.step()
    if it % 10 == 9:
        print(f"{it + 1} return {R.sum(0).mean().item():.3f} surrogate {pi_loss.item():.4f}")
