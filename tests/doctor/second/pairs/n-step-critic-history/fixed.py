"""Value learning from a random walk; value estimates are kept for a plot.

Source: google/brax#152
"""

import torch
from torch import nn, optim

torch.manual_seed(0)
STATES = 9


def one_hot(s):
    return nn.functional.one_hot(s, STATES).float()


class ValueNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(STATES, 24), nn.Tanh(), nn.Linear(24, 1))

    def forward(self, s):
        return self.layers(one_hot(s)).squeeze(-1)


value = ValueNet()
optimizer = optim.Adam(value.parameters(), lr=0.01)
history = {"loss": [], "middle": []}
state = torch.full((32,), STATES // 2)
for update in range(200):
    move = torch.randint(0, 2, (32,)) * 2 - 1
    nxt = (state + move).clamp(0, STATES - 1)
    ended = (nxt == 0) | (nxt == STATES - 1)
    reward = (nxt == STATES - 1).float()
    with torch.no_grad():
        target = reward + torch.where(ended, 0.0, value(nxt))
    loss = nn.functional.mse_loss(value(state), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    state = torch.where(ended, STATES // 2, nxt)
    history["loss"].append(loss.item())
    history["middle"].append(value(torch.tensor(STATES // 2)).item())
    if update % 50 == 49:
        recent = sum(history["loss"][-50:]) / 50
        print(f"{update + 1} loss {recent:.5f} value of the middle {history['middle'][-1]:.4f}")
with torch.no_grad():
    truth = torch.arange(1, STATES - 1) / (STATES - 1)
    print("error", round((value(torch.arange(1, STATES - 1)) - truth).abs().mean().item(), 4))
