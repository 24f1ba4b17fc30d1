"""Truncated backpropagation through time over one long signal.

Source: yunjey/pytorch-tutorial#90
"""

import torch
import torch.nn as nn

torch.manual_seed(0)
t = torch.arange(0, 1203, dtype=torch.float32)
signal = torch.sin(t / 5) * torch.cos(t / 37) + 0.05 * torch.randn_like(t)
streams = signal[:1200].view(4, 300).t().unsqueeze(-1)  # four streams, time first
CHUNK = 25


def repackage(h):
    return tuple(v.detach() for v in h) if isinstance(h, tuple) else h.detach()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 20)
        self.out = nn.Linear(20, 1)

    def forward(self, x, h):
        y, h = self.lstm(x, h)
        return self.out(y), h


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(3):
    h = (torch.zeros(1, 4, 20), torch.zeros(1, 4, 20))
    total, n = 0.0, 0
    for i in range(0, 299 - CHUNK, CHUNK):
        h = repackage(h)  # the values go on, the history does not
        y, h = net(streams[i : i + CHUNK], h)
        loss = nn.functional.mse_loss(y, streams[i + 1 : i + 1 + CHUNK])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        opt.step()
        total, n = total + loss.item(), n + 1
    print(f"epoch {epoch} mse {total / n:.4f}")
