"""DQN with replay and a target network on a small corridor environment.

Source: AndersonJo/dqn-pytorch#1
"""

import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

Transition = namedtuple("Transition", "state action reward next_state done")
random.seed(0)
torch.manual_seed(0)


class Corridor:
    """Walk from the left end to the right end; a wrong step costs, the goal pays."""

    def __init__(self, length=8):
        self.length = length

    def reset(self):
        self.pos, self.t = 0, 0
        return self.observe()

    def observe(self):
        return torch.tensor([self.pos / self.length, self.t / 40, float(self.pos % 2)])

    def step(self, action):
        self.t += 1
        self.pos = max(0, self.pos + (1 if action == self.pos % 2 else -1))
        done = self.pos >= self.length or self.t >= 40
        return self.observe(), 1.0 if self.pos >= self.length else -0.05, done


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x):
        return self.layers(x)


policy_net, target_net = QNet(), QNet()
target_net.load_state_dict(policy_net.state_dict())
optimizer = optim.Adam(policy_net.parameters(), lr=3e-3)
memory = deque(maxlen=2000)
GAMMA, BATCH = 0.97, 32


def optimize_model():
    if len(memory) < BATCH:
        return None
    batch = Transition(*zip(*random.sample(memory, BATCH)))
    states = torch.stack(batch.state)
    actions = torch.tensor(batch.action).unsqueeze(1)
    rewards = torch.tensor(batch.reward)
    next_states = torch.stack(batch.next_state)
    not_done = 1.0 - torch.tensor(batch.done, dtype=torch.float32)

    q_values = policy_net(states).gather(1, actions)
    with torch.no_grad():
        next_q = target_net(next_states).max(1).values
    expected = rewards + GAMMA * next_q * not_done

    loss = (q_values - expected).pow(2).mean()  # expect: loss-broadcast
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


env = Corridor()
returns = []
for episode in range(24):
    state, done, total = env.reset(), False, 0.0
    eps = max(0.05, 0.9 - episode * 0.04)
    while not done:
        if random.random() < eps:
            action = random.randrange(2)
        else:
            with torch.no_grad():
                action = policy_net(state.unsqueeze(0)).argmax(1).item()
        next_state, reward, done = env.step(action)
        memory.append(Transition(state, action, reward, next_state, done))
        state = next_state
        total += reward
        loss = optimize_model()
    if episode % 4 == 0:
        target_net.load_state_dict(policy_net.state_dict())
    returns.append(total)
    if episode % 6 == 5:
        print(f"episode {episode + 1}: mean return {sum(returns[-6:]) / 6:.3f}, last loss {loss:.4f}")
