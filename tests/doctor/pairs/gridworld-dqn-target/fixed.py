"""Deep Q learning with replay memory and a target network on a small grid.

Source: datawhalechina/easy-rl#117
"""

import copy
import random
from collections import deque

import torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(1)
torch.manual_seed(1)

SIZE, GAMMA, SYNC = 4, 0.9, 40
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0)]


def observe(pos):
    o = torch.zeros(SIZE * SIZE)
    o[pos[0] * SIZE + pos[1]] = 1.0
    return o


def act_in_world(pos, a):
    nxt = tuple(min(SIZE - 1, max(0, p + d)) for p, d in zip(pos, MOVES[a]))
    done = nxt == (SIZE - 1, SIZE - 1)
    return nxt, (1.0 if done else -0.01), done


policy_net = nn.Sequential(nn.Linear(SIZE * SIZE, 32), nn.ReLU(), nn.Linear(32, 4))
target_net = copy.deepcopy(policy_net)
optimizer = torch.optim.Adam(policy_net.parameters(), lr=3e-3)
memory = deque(maxlen=500)

steps, returns = 0, []
for episode in range(25):
    pos, total = (0, 0), 0.0
    epsilon = max(0.1, 1.0 - episode / 15)
    for _ in range(20):
        if random.random() < epsilon:
            a = random.randrange(4)
        else:
            with torch.no_grad():
                a = policy_net(observe(pos)).argmax().item()
        nxt, reward, done = act_in_world(pos, a)
        memory.append((observe(pos), a, reward, observe(nxt), float(done)))
        pos, total, steps = nxt, total + reward, steps + 1
        if len(memory) >= 32:
            s, a, r, s2, d = zip(*random.sample(memory, 32))
            q = policy_net(torch.stack(s)).gather(1, torch.tensor(a).unsqueeze(1)).squeeze(1)
            with torch.no_grad():
                q_next = target_net(torch.stack(s2)).max(1).values
                expected = torch.tensor(r) + GAMMA * q_next * (1 - torch.tensor(d))
            loss = F.smooth_l1_loss(q, expected)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if steps % SYNC == 0:
            target_net.load_state_dict(policy_net.state_dict())
        if done:
            break
    returns.append(total)
    if episode % 5 == 4:
        print(f"episode {episode + 1} mean return {sum(returns[-5:]) / 5:+.3f}")
with torch.no_grad():
    print("Q(start):", [round(v, 3) for v in policy_net(observe((0, 0))).tolist()])
