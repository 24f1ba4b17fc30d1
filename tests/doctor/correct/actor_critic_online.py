"""One-step actor-critic on a corridor: two networks, two optimizers, updated at every transition.

Source: nikhilbarhate99/Actor-Critic-PyTorch
"""

import torch
import torch.nn as nn
from torch.distributions import Categorical


class Corridor:
    """Walk right to the goal; every step costs a little."""

    n = 7

    def reset(self):
        self.at, self.t = 0, 0
        return self.observe()

    def observe(self):
        return nn.functional.one_hot(torch.tensor(self.at), self.n).float()

    def step(self, action):
        self.at = max(0, self.at + (1 if action == 1 else -1))
        self.t += 1
        done = self.at == self.n - 1
        return self.observe(), (1.0 if done else -0.05), done, self.t >= 30


torch.manual_seed(2)
env = Corridor()
actor = nn.Sequential(nn.Linear(7, 32), nn.Tanh(), nn.Linear(32, 2))
critic = nn.Sequential(nn.Linear(7, 32), nn.Tanh(), nn.Linear(32, 1))
actor_opt = torch.optim.Adam(actor.parameters(), lr=5e-3)
critic_opt = torch.optim.Adam(critic.parameters(), lr=1e-2)
gamma = 0.95

for episode in range(30):
    state, total = env.reset(), 0.0
    while True:
        dist = Categorical(logits=actor(state))
        action = dist.sample()
        next_state, reward, done, truncated = env.step(action.item())
        total += reward

        value = critic(state)
        with torch.no_grad():
            target = reward + (0.0 if done else gamma * critic(next_state))
        advantage = target - value

        critic_loss = advantage.pow(2).mean()
        critic_opt.zero_grad()
        critic_loss.backward()
        critic_opt.step()

        # the critic is a constant for the actor
        actor_loss = -(dist.log_prob(action) * advantage.detach()).sum()
        actor_opt.zero_grad()
        actor_loss.backward()
        actor_opt.step()

        state = next_state
        if done or truncated:
            break
    if (episode + 1) % 10 == 0:
        print(f"episode {episode + 1:3d} return {total:+.2f} length {env.t}")
