"""REINFORCE: one policy update at the end of each episode, returns normalised within it.

Source: pytorch/examples reinforcement_learning/reinforce.py
"""

import math
import random
from collections import deque

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

random.seed(543)
torch.manual_seed(543)
eps = 1e-8


class Pole:
    def reset(self):
        self.angle, self.speed, self.t = random.uniform(-0.05, 0.05), 0.0, 0
        return [self.angle, self.speed]

    def step(self, action):
        push = 1.0 if action == 1 else -1.0
        self.speed += 0.05 * (9.8 * math.sin(self.angle) - 3.0 * push * math.cos(self.angle))
        self.angle += 0.05 * self.speed
        self.t += 1
        return [self.angle, self.speed], 1.0, abs(self.angle) > 0.4 or self.t >= 60


class Policy(nn.Module):
    def __init__(self):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(2, 64)
        self.affine2 = nn.Linear(64, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        return F.softmax(self.affine2(F.relu(self.affine1(x))), dim=1)


policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)


def select_action(state):
    probs = policy(torch.tensor(state).unsqueeze(0))
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode(gamma=0.97):
    R = 0
    returns = deque()
    for r in policy.rewards[::-1]:
        R = r + gamma * R
        returns.appendleft(R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    policy_loss = [-log_prob * R for log_prob, R in zip(policy.saved_log_probs, returns)]
    optimizer.zero_grad()
    policy_loss = torch.cat(policy_loss).sum()
    policy_loss.backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]


def main():
    env = Pole()
    running_reward = 10
    for i_episode in range(1, 41):
        state, ep_reward, done = env.reset(), 0, False
        while not done:
            state, reward, done = env.step(select_action(state))
            policy.rewards.append(reward)
            ep_reward += reward
        running_reward = 0.05 * ep_reward + (1 - 0.05) * running_reward
        finish_episode()
        if i_episode % 10 == 0:
            print(
                "Episode {}\tLast reward: {:.2f}\tAverage reward: {:.2f}".format(i_episode, ep_reward, running_reward)
            )


if __name__ == "__main__":
    main()
