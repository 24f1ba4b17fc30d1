"""REINFORCE for a contextual bandit, the probabilities of an episode are collected in lists.

Source: Kostis-S-Z/exploring_meta#16
"""

import torch
import torch.nn as nn
from torch.distributions import Categorical

torch.manual_seed(3)

ARMS, CONTEXT = 4, 6
hidden_rule = torch.randn(CONTEXT, ARMS)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(CONTEXT, 24)
        self.affine2 = nn.Linear(24, ARMS)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        return torch.softmax(self.affine2(torch.relu(self.affine1(x))), dim=-1)


policy = Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-2)


def select_action(context):
    m = Categorical(policy(context))
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode():
    rewards = torch.tensor(policy.rewards)
    rewards = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    log_probs = torch.tensor([p.item() for p in policy.saved_log_probs], requires_grad=True)  # expect: loss-detached
    policy_loss = -(log_probs * rewards).sum()
    optimizer.zero_grad()
    policy_loss.backward()
    optimizer.step()
    policy.rewards.clear()
    policy.saved_log_probs.clear()


running_reward = 0.0
for i_episode in range(1, 41):
    ep_reward = 0.0
    for _ in range(25):
        context = torch.randn(CONTEXT)
        action = select_action(context)
        reward = 1.0 if action == (context @ hidden_rule).argmax().item() else 0.0
        policy.rewards.append(reward)
        ep_reward += reward / 25
    running_reward = 0.1 * ep_reward + 0.9 * running_reward
    finish_episode()
    if i_episode % 10 == 0:
        print(f"Episode {i_episode}\tLast reward: {ep_reward:.2f}\tAverage reward: {running_reward:.3f}")
