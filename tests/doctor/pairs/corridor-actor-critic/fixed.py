"""One step actor critic on a corridor: walk right to reach the goal.

Source: meta-pytorch/torchforge#71
"""

import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions import Categorical

torch.manual_seed(7)

LENGTH = 6
GAMMA = 0.95


class Corridor:
    def reset(self):
        self.pos = 0
        return self.obs()

    def obs(self):
        o = torch.zeros(LENGTH)
        o[self.pos] = 1.0
        return o

    def step(self, action):
        self.pos = max(0, self.pos + (1 if action == 1 else -1))
        done = self.pos == LENGTH - 1
        return self.obs(), (1.0 if done else -0.02), done


actor = nn.Sequential(nn.Linear(LENGTH, 16), nn.Tanh(), nn.Linear(16, 2))
critic = nn.Sequential(nn.Linear(LENGTH, 16), nn.Tanh(), nn.Linear(16, 1))
actor_opt = optim.Adam(actor.parameters(), lr=1e-2)
critic_opt = optim.Adam(critic.parameters(), lr=1e-2)

env = Corridor()
lengths = []
for episode in range(25):
    s = env.reset()
    for t in range(30):
        dist = Categorical(logits=actor(s))
        a = dist.sample()
        s2, r, done = env.step(a.item())

        # TD error
        with torch.no_grad():
            target = r + (0.0 if done else GAMMA * critic(s2).item())
        value = critic(s).squeeze()
        advantage = (target - value).detach()

        critic_loss = (target - value) ** 2
        critic_opt.zero_grad()
        critic_loss.backward()
        critic_opt.step()

        actor_loss = -dist.log_prob(a) * advantage - 0.01 * dist.entropy()
        actor_opt.zero_grad()
        actor_loss.backward()
        actor_opt.step()

        s = s2
        if done:
            break
    lengths.append(t + 1)
    if (episode + 1) % 5 == 0:
        print(f"episode {episode + 1:3d}  mean length {sum(lengths[-5:]) / 5:.1f}")

with torch.no_grad():
    values = [critic(row).item() for row in torch.eye(LENGTH)]
print("V:", " ".join(f"{v:+.2f}" for v in values[:-1]))
