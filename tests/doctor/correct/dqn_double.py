"""Double DQN with a replay buffer and a target network that is copied every few steps.

Source: pytorch/tutorials reinforcement_q_learning
"""

import random
from collections import deque, namedtuple

import torch
from torch import nn, optim

Transition = namedtuple("Transition", "state action reward next_state done")


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, n):
        batch = Transition(*zip(*random.sample(self.memory, n)))
        return (
            torch.stack(batch.state),
            torch.tensor(batch.action),
            torch.tensor(batch.reward),
            torch.stack(batch.next_state),
            torch.tensor(batch.done, dtype=torch.float32),
        )

    def __len__(self):
        return len(self.memory)


def mountain_step(x, v, action):
    v = max(-0.2, min(0.2, v + 0.05 * (action - 1) - 0.01 * x))
    x = max(-1.0, min(1.0, x + v))
    return x, v, 1.0 if x >= 1.0 else -0.1, x >= 1.0


random.seed(4)
torch.manual_seed(4)
BATCH, GAMMA, SYNC = 32, 0.95, 25
policy_net = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 3))
target_net = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 3))
target_net.load_state_dict(policy_net.state_dict())
target_net.eval()
optimizer = optim.AdamW(policy_net.parameters(), lr=2e-3, amsgrad=True)
memory = ReplayMemory(2000)
criterion = nn.SmoothL1Loss()


def optimize_model():
    if len(memory) < BATCH:
        return None
    state, action, reward, next_state, done = memory.sample(BATCH)
    q = policy_net(state).gather(1, action.unsqueeze(1))
    with torch.no_grad():
        best = policy_net(next_state).argmax(1, keepdim=True)
        next_q = target_net(next_state).gather(1, best)
        expected = reward.unsqueeze(1) + GAMMA * next_q * (1 - done.unsqueeze(1))
    loss = criterion(q, expected)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()
    return loss.item()


steps = 0
for episode in range(10):
    x, v, total = random.uniform(-0.6, -0.4), 0.0, 0.0
    for t in range(30):
        state = torch.tensor([x, v])
        epsilon = max(0.05, 0.9 - steps / 150)
        if random.random() < epsilon:
            action = random.randrange(3)
        else:
            with torch.no_grad():
                action = policy_net(state.unsqueeze(0)).max(1).indices.item()
        x, v, reward, done = mountain_step(x, v, action)
        memory.push(state, action, reward, torch.tensor([x, v]), done)
        loss = optimize_model()
        steps += 1
        total += reward
        if steps % SYNC == 0:
            target_net.load_state_dict(policy_net.state_dict())
        if done:
            break
    print(f"episode {episode}: return {total:.2f} after {t + 1} steps, last loss {loss}")
