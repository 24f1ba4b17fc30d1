"""Classify padded-free gesture sequences from the last states of a bidirectional LSTM.

Source: graykode/nlp-tutorial#38
"""

import math

import torch
import torch.nn as nn

torch.manual_seed(14)
KINDS, STEPS = 4, 15


def gestures(n):
    kind = torch.randint(KINDS, (n,))
    t = torch.linspace(0, 1, STEPS)[None, :]
    turn = (kind[:, None].float() + 1) * math.pi * t * torch.where(torch.rand(n, 1) < 0.5, -1.0, 1.0)
    start = 2 * math.pi * torch.rand(n, 1)
    xy = torch.stack([torch.cos(start + turn), torch.sin(start + turn)], dim=2)
    return xy + 0.1 * torch.randn_like(xy), kind


class GestureNet(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.hidden = hidden
        self.lstm = nn.LSTM(2, hidden, bidirectional=True, batch_first=True)
        self.out = nn.Linear(2 * hidden, KINDS)

    def forward(self, x):
        _, (final_state, _) = self.lstm(x)
        # (directions, batch, hidden) to (batch, directions * hidden)
        state = final_state.view(-1, 2 * self.hidden)  # expect: examples-mixed-in-batch
        return self.out(state)


x_train, y_train = gestures(600)
x_test, y_test = gestures(150)
net = GestureNet()
opt = torch.optim.Adam(net.parameters(), lr=8e-3)
ce = nn.CrossEntropyLoss()

for epoch in range(6):
    net.train()
    for i in torch.randperm(600).split(50):
        loss = ce(net(x_train[i]), y_train[i])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(x_test).argmax(1) == y_test).float().mean().item()
    print(f"epoch {epoch}: last loss {loss.item():.4f} test accuracy {acc:.4f}")
