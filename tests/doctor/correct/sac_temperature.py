"""Soft actor-critic for a continuous bandit: three optimizers, twin critics and a learnt temperature.

Source: pranz24/pytorch-soft-actor-critic
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal


class GaussianPolicy(nn.Module):
    def __init__(self, n_state, n_action):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_state, 32), nn.ReLU())
        self.mean, self.log_std = nn.Linear(32, n_action), nn.Linear(32, n_action)

    def sample(self, state):
        h = self.trunk(state)
        mean, log_std = self.mean(h), self.log_std(h).clamp(-5, 2)
        normal = Normal(mean, log_std.exp())
        raw = normal.rsample()
        action = torch.tanh(raw)
        log_prob = (normal.log_prob(raw) - torch.log(1 - action.pow(2) + 1e-6)).sum(1, keepdim=True)
        return action, log_prob, torch.tanh(mean)


class TwinQ(nn.Module):
    def __init__(self, n_state, n_action):
        super().__init__()
        self.q1 = nn.Sequential(nn.Linear(n_state + n_action, 32), nn.ReLU(), nn.Linear(32, 1))
        self.q2 = nn.Sequential(nn.Linear(n_state + n_action, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, state, action):
        sa = torch.cat([state, action], 1)
        return self.q1(sa), self.q2(sa)


def reward_of(state, action):
    return 1 - (action - state.mean(1, keepdim=True)).abs()


torch.manual_seed(11)
policy, critic = GaussianPolicy(3, 1), TwinQ(3, 1)
log_alpha = torch.zeros(1, requires_grad=True)
target_entropy = -1.0
policy_optim = torch.optim.Adam(policy.parameters(), lr=3e-3)
critic_optim = torch.optim.Adam(critic.parameters(), lr=3e-3)
alpha_optim = torch.optim.Adam([log_alpha], lr=3e-3)

replay_s, replay_a, replay_r = [], [], []
for update in range(100):
    state = torch.rand(8, 3) * 1.6 - 0.8
    with torch.no_grad():
        action, _, _ = policy.sample(state)
    replay_s.append(state), replay_a.append(action), replay_r.append(reward_of(state, action))

    pick = torch.randint(0, len(replay_s) * 8, (64,))
    s, a, r = (torch.cat(v)[pick] for v in (replay_s, replay_a, replay_r))
    q1, q2 = critic(s, a)  # one-step episodes: the target is the reward
    qf_loss = F.mse_loss(q1, r) + F.mse_loss(q2, r)
    critic_optim.zero_grad()
    qf_loss.backward()
    critic_optim.step()

    pi, log_pi, _ = policy.sample(s)
    min_q = torch.min(*critic(s, pi))
    policy_loss = (log_alpha.exp().detach() * log_pi - min_q).mean()
    policy_optim.zero_grad()
    policy_loss.backward()
    policy_optim.step()

    alpha_loss = -(log_alpha * (log_pi + target_entropy).detach()).mean()
    alpha_optim.zero_grad()
    alpha_loss.backward()
    alpha_optim.step()

    if update % 25 == 24:
        with torch.no_grad():
            test = torch.rand(200, 3) * 1.6 - 0.8
            score = reward_of(test, policy.sample(test)[2]).mean()
        print(f"{update + 1}: critic {qf_loss.item():.4f} alpha {log_alpha.exp().item():.3f} greedy reward {score:.3f}")
