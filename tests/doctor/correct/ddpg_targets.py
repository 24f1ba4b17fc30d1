"""DDPG on a one-dimensional point mass, with target networks and a replay buffer.

The actor's backward pass also fills the critic's gradients; they are cleared before the critic steps.

Source: ghliu/pytorch-ddpg
"""

import copy
import random
from collections import deque

import torch
import torch.nn.functional as F
from torch import nn


class PointMass:
    def reset(self):
        self.pos, self.vel, self.t = random.uniform(-1, 1), 0.0, 0
        return [self.pos, self.vel]

    def step(self, force):
        self.vel = 0.9 * self.vel + 0.1 * force
        self.pos = max(-2.0, min(2.0, self.pos + self.vel))
        self.t += 1
        return [self.pos, self.vel], -(self.pos**2) - 0.01 * force**2, self.t >= 25


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh())

    def forward(self, s):
        return self.net(s)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, s, a):
        return self.net(torch.cat([s, a], 1))


def soft_update(target, source, tau):
    for t, s in zip(target.parameters(), source.parameters()):
        t.data.copy_(t.data * (1.0 - tau) + s.data * tau)


random.seed(0)
torch.manual_seed(0)
actor, critic = Actor(), Critic()
actor_target, critic_target = copy.deepcopy(actor), copy.deepcopy(critic)
actor_optim = torch.optim.Adam(actor.parameters(), lr=1e-3)
critic_optim = torch.optim.Adam(critic.parameters(), lr=2e-3)
memory = deque(maxlen=5000)
env = PointMass()

for episode in range(12):
    s, ret, done = env.reset(), 0.0, False
    while not done:
        with torch.no_grad():
            a = actor(torch.tensor([s])).item()
        a = max(-1.0, min(1.0, a + random.gauss(0, 0.3)))
        s2, r, done = env.step(a)
        memory.append((s, [a], [r], s2))
        s, ret = s2, ret + r
        if len(memory) < 64:
            continue

        states, actions, rewards, next_states = (torch.tensor(v) for v in zip(*random.sample(memory, 64)))
        # the episodes end by the clock, not by the task: always bootstrap
        with torch.no_grad():
            target_q = rewards + 0.95 * critic_target(next_states, actor_target(next_states))
        critic.zero_grad()
        value_loss = F.mse_loss(critic(states, actions), target_q)
        value_loss.backward()
        critic_optim.step()

        actor.zero_grad()
        policy_loss = -critic(states, actor(states)).mean()
        policy_loss.backward()
        actor_optim.step()

        soft_update(actor_target, actor, 0.02)
        soft_update(critic_target, critic, 0.02)
    if episode % 4 == 3:
        print(
            f"episode {episode}: return {ret:.2f} value loss {value_loss.item():.4f} policy loss {policy_loss.item():.4f}"
        )
