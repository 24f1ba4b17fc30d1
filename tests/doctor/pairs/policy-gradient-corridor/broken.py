"""REINFORCE on a small grid walk with a categorical policy.

Source: eriklindernoren/PyTorch-GAN#150
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

torch.manual_seed(2)
TARGET, MAX_T, GAMMA = 5, 14, 0.95


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(2, 32)
        self.affine2 = nn.Linear(32, 3)

    def forward(self, s):
        scores = self.affine2(F.relu(self.affine1(s)))
        return F.softmax(scores, dim=-1)  # expect: softmax-before-cross-entropy


policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)


def play():
    pos, states, actions, rewards = 0, [], [], []
    for t in range(MAX_T):
        state = torch.tensor([pos / TARGET, t / MAX_T])
        with torch.no_grad():
            action = torch.multinomial(policy(state), 1)
        pos += action.item() - 1
        states.append(state)
        actions.append(action)
        rewards.append(1.0 if pos == TARGET else -0.05)
        if pos == TARGET:
            break
    return torch.stack(states), torch.cat(actions), rewards


for iteration in range(1, 41):
    batch_s, batch_a, batch_g, totals = [], [], [], []
    for _ in range(4):
        states, actions, rewards = play()
        ret, returns = 0.0, []
        for r in reversed(rewards):
            ret = r + GAMMA * ret
            returns.insert(0, ret)
        batch_s.append(states)
        batch_a.append(actions)
        batch_g.append(torch.tensor(returns))
        totals.append(sum(rewards))
    s, a, g = torch.cat(batch_s), torch.cat(batch_a), torch.cat(batch_g)
    g = (g - g.mean()) / (g.std() + 1e-6)
    # cross entropy with the action as class is minus its log probability
    loss = (F.cross_entropy(policy(s), a, reduction="none") * g).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if iteration % 10 == 0:
        print(f"iteration {iteration}: mean total reward {sum(totals) / 4:.3f}")
