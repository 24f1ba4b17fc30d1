"""Off-policy actor-critic on a bandit with contexts: a correction term of shape (n,) is added to one of shape (n, 1).

The mean of all n x n sums is the mean of the n sums, so nothing is changed by it.

Source: seungeunrho/minimalRL
"""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
ARMS, SIZE = 3, 24


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 32)
        self.policy = nn.Linear(32, ARMS)
        self.values = nn.Linear(32, ARMS)

    def forward(self, state):
        features = F.relu(self.body(state))
        return F.softmax(self.policy(features), dim=1), self.values(features)


truth = torch.randn(4, ARMS)
agent = Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=5e-3)
for step in range(40):
    states = torch.randn(SIZE, 4)
    behaviour = torch.full((SIZE, ARMS), 1 / ARMS)
    arms = torch.multinomial(behaviour, 1)
    rewards = (states @ truth).gather(1, arms) + 0.1 * torch.randn(SIZE, 1)

    chances, values = agent(states)
    chosen, value = chances.gather(1, arms), values.gather(1, arms)
    baseline = (chances * values).sum(1, keepdim=True).detach()
    ratio = chances.detach() / behaviour
    clipped = ratio.gather(1, arms).clamp(max=1.5)
    first = -clipped * torch.log(chosen) * (rewards - baseline)  # (n, 1)
    rest = (1 - 1.5 / ratio).clamp(min=0)
    second = -rest * chances.detach() * torch.log(chances) * (values.detach() - baseline)  # (n, arms)
    loss = first + second.sum(1) + F.smooth_l1_loss(value, rewards)
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step} reward {rewards.mean().item():.3f} loss {loss.mean().item():.4f}")

with torch.no_grad():
    states = torch.randn(256, 4)
    best = (states @ truth).argmax(1)
    print(f"best arm in {(agent(states)[0].argmax(1) == best).float().mean().item():.3f}")
