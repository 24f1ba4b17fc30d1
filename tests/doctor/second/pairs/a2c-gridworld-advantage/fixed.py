"""Advantage actor-critic on a two-dimensional grid, batches of parallel walkers.

Source: PacktPublishing/Deep-Reinforcement-Learning-Hands-On#33
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
SIZE, ENVS, STEPS, GAMMA = 5, 16, 6, 0.95
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
GOAL = torch.tensor([SIZE - 1, SIZE - 1])


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh())
        self.pi = nn.Linear(32, 4)
        self.v = nn.Linear(32, 1)

    def forward(self, s):
        h = self.body(s.float() / (SIZE - 1) * 2 - 1)
        return self.pi(h), self.v(h)


def env_step(pos, action):
    new = (pos + MOVES[action]).clamp(0, SIZE - 1)
    done = (new == GOAL).all(1)
    reward = torch.where(done, 1.0, -0.05)
    new[done] = torch.randint(0, SIZE - 1, (int(done.sum()), 2))
    return new, reward, done


net = ActorCritic()
opt = torch.optim.RMSprop(net.parameters(), lr=3e-3)
pos = torch.randint(0, SIZE - 1, (ENVS, 2))
recent = []
for update in range(80):
    states, actions, rewards, dones = [], [], [], []
    for _ in range(STEPS):
        with torch.no_grad():
            logits, _ = net(pos)
        a = torch.distributions.Categorical(logits=logits).sample()
        states.append(pos)
        pos, r, d = env_step(pos, a)
        actions.append(a), rewards.append(r), dones.append(d)
    with torch.no_grad():
        ret = net(pos)[1].squeeze(1)
    returns = []
    for r, d in zip(reversed(rewards), reversed(dones)):
        ret = r + GAMMA * ret * (~d).float()
        returns.insert(0, ret)
    states, actions, returns = torch.cat(states), torch.cat(actions), torch.cat(returns)

    logits, values = net(states)
    log_prob = F.log_softmax(logits, 1)
    value_loss = F.mse_loss(values.squeeze(1), returns)
    advantage = returns - values.squeeze(1).detach()
    taken = log_prob[torch.arange(len(actions)), actions]
    policy_loss = -(advantage * taken).mean()
    entropy = -(log_prob.exp() * log_prob).sum(1).mean()
    opt.zero_grad()
    (policy_loss + 0.5 * value_loss - 0.01 * entropy).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    opt.step()
    recent.append(torch.stack(rewards).mean().item())
    if update % 20 == 19:
        print(f"update {update + 1} reward {sum(recent[-20:]) / 20:.4f} value loss {value_loss.item():.4f}")
