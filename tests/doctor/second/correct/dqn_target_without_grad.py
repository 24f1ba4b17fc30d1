"""Deep Q-learning on a chain of states, a target net that is copied now and then.

Source: boyu-ai/Hands-on-RL#112
"""

import copy
import random
from collections import deque

import torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(0)
torch.manual_seed(0)
N = 5


def step(s, a):
    s2 = max(0, min(N - 1, s + (1 if a else -1)))
    return s2, 1.0 if s2 == N - 1 else 0.0, s2 == N - 1


enc = torch.eye(N)
q_net = nn.Sequential(nn.Linear(N, 24), nn.ReLU(), nn.Linear(24, 2))
target_net = copy.deepcopy(q_net)
optimizer = torch.optim.Adam(q_net.parameters(), lr=5e-3)
memory = deque(maxlen=500)
s, eps, done_count = 0, 1.0, 0
for t in range(220):
    if random.random() < eps:
        a = random.randrange(2)
    else:
        with torch.no_grad():
            a = int(q_net(enc[s]).argmax())
    s2, r, d = step(s, a)
    memory.append((s, a, r, s2, float(d)))
    s = 0 if d else s2
    done_count += d
    eps = max(0.1, eps * 0.99)
    if len(memory) < 40:
        continue
    batch = random.sample(memory, 32)
    bs, ba, br, bn, bd = zip(*batch)
    q = q_net(enc[list(bs)]).gather(1, torch.tensor(ba).unsqueeze(1)).squeeze(1)
    # no detach needed: the target net is in no optimizer and is only ever copied into
    with torch.no_grad():
        nxt = target_net(enc[list(bn)]).max(1).values
    y = torch.tensor(br) + 0.9 * nxt * (1 - torch.tensor(bd))
    loss = F.smooth_l1_loss(q, y)
    optimizer.zero_grad()
    loss.backward()
    for p in q_net.parameters():
        p.grad.data.clamp_(-1, 1)
    optimizer.step()
    if t % 25 == 0:
        target_net.load_state_dict(q_net.state_dict())
print("episodes", done_count, "loss", round(loss.item(), 5))
with torch.no_grad():
    print("policy", q_net(enc).argmax(1).tolist())
