"""REINFORCE on a corridor of seven cells; reward waits at the right end.

Source: jongwook/onsets-and-frames#24
"""

import torch
from torch import nn
from torch.distributions import Categorical

torch.manual_seed(2)
N, GAMMA, MAX_STEPS = 7, 0.97, 25


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(N, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, state):
        return Categorical(logits=self.body(state))


def one_hot(cell):
    return nn.functional.one_hot(torch.tensor(cell), N).float()


def rollout(policy):
    cell, log_probs, rewards = N // 2, [], []
    for _ in range(MAX_STEPS):
        dist = policy(one_hot(cell))
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        cell = max(0, cell + (1 if action.item() else -1))
        rewards.append(10.0 if cell == N - 1 else -0.2)
        if cell == N - 1:
            break
    return log_probs, rewards


policy = Policy()
optimizer = torch.optim.SGD(policy.parameters(), lr=0.3)
history = []
for episode in range(40):
    log_probs, rewards = rollout(policy)
    returns, g = [], 0.0
    for r in reversed(rewards):
        g = r + GAMMA * g
        returns.insert(0, g)
    returns = torch.tensor(returns)
    loss = -(torch.stack(log_probs) * returns).mean()

    optimizer.zero_grad()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 0.5)  # expect: gradients-clipped-before-backward
    loss.backward()
    optimizer.step()
    history.append(sum(rewards))
    if episode % 10 == 9:
        print(f"episode {episode + 1:3d} mean return {sum(history[-10:]) / 10:.3f}")
