"""Deep Q-learning on a corridor in which the agent has to walk to the right end."""

import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.optim as optim

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward", "done"))


class Corridor:
    def __init__(self, length=7, limit=20):
        self.length, self.limit = length, limit

    def reset(self):
        self.position, self.time = self.length // 2, 0
        return self.observe()

    def observe(self):
        state = torch.zeros(self.length)
        state[self.position] = 1.0
        return state

    def step(self, action):
        move = 1 if action == 1 else -1
        if random.random() < 0.1:
            move = -move
        self.position = min(max(self.position + move, 0), self.length - 1)
        self.time += 1
        goal = self.position == self.length - 1
        reward = 5.0 if goal else -0.5
        return self.observe(), reward, goal, self.time >= self.limit


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(self.memory, batch_size)

    def __len__(self):
        return len(self.memory)


class QNetwork(nn.Module):
    def __init__(self, n_observations, n_actions):
        super().__init__()
        self.layer1 = nn.Linear(n_observations, 32)
        self.layer2 = nn.Linear(32, 32)
        self.layer3 = nn.Linear(32, n_actions)

    def forward(self, x):
        x = torch.relu(self.layer1(x))
        x = torch.relu(self.layer2(x))
        return self.layer3(x)


random.seed(2)
torch.manual_seed(2)
GAMMA, BATCH_SIZE, TARGET_EVERY = 0.95, 32, 25

env = Corridor()
policy_net = QNetwork(env.length, 2)
target_net = QNetwork(env.length, 2)
target_net.load_state_dict(policy_net.state_dict())
target_net.eval()
optimizer = optim.Adam(policy_net.parameters(), lr=5e-3)
criterion = nn.SmoothL1Loss()
memory = ReplayMemory(1000)
steps_done = 0


def select_action(state, epsilon):
    if random.random() < epsilon:
        return random.randrange(2)
    with torch.no_grad():
        return policy_net(state.unsqueeze(0)).argmax(dim=1).item()


def optimize_model():
    batch = Transition(*zip(*memory.sample(BATCH_SIZE)))
    states = torch.stack(batch.state)
    next_states = torch.stack(batch.next_state)
    actions = torch.tensor(batch.action).unsqueeze(1)
    rewards = torch.tensor(batch.reward)
    done = torch.tensor(batch.done).float()

    q_values = policy_net(states).gather(1, actions).squeeze(1)
    with torch.no_grad():
        next_values = target_net(next_states).max(dim=1).values
        expected = rewards + GAMMA * next_values * (1 - done)
    loss = criterion(q_values, expected)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 10)
    optimizer.step()
    return loss.item()


def run_episode(epsilon, learn):
    global steps_done
    state, total, losses = env.reset(), 0.0, []
    over = False
    while not over:
        action = select_action(state, epsilon)
        next_state, reward, goal, timeout = env.step(action)
        over = goal or timeout
        total += reward
        if learn:
            memory.push(state, action, next_state, reward, goal)
            steps_done += 1
            if len(memory) >= BATCH_SIZE:
                losses.append(optimize_model())
            if steps_done % TARGET_EVERY == 0:
                target_net.load_state_dict(policy_net.state_dict())
        state = next_state
    return total, losses


for phase in range(3):
    policy_net.train()
    losses = []
    for episode in range(10):
        losses += run_episode(max(0.1, 0.9 - 0.3 * phase), learn=True)[1]
    policy_net.eval()
    returns = [run_episode(0.0, learn=False)[0] for _ in range(5)]
    print(f"phase {phase}: loss {sum(losses) / max(len(losses), 1):.5f}, mean return {sum(returns) / len(returns):.4f}")
