"""Forecast the next reading of machines whose recordings have different lengths (zero padded).

Source: 01-ai/Yi#110
"""

import argparse

import torch
import torch.nn as nn

p = argparse.ArgumentParser()
p.add_argument("--hidden", default=16, type=int)
p.add_argument("--epochs", default=6, type=int)
p.add_argument("--lr", default=8e-3, type=float)
opts = p.parse_args()

torch.manual_seed(9)
n, longest = 320, 30
lengths = torch.randint(6, longest + 1, (n,))
phase = torch.rand(n, 1) * 6.28
speed = 0.3 + 0.4 * torch.rand(n, 1)
series = torch.sin(phase + speed * torch.arange(longest + 1)) + 0.05 * torch.randn(n, longest + 1)
steps = torch.arange(longest + 1)[None, :]
series = torch.where(steps <= lengths[:, None], series, 0.0)  # zeros after the end of the recording
mask = (steps[:, 1:] <= lengths[:, None]).float()
inputs, targets = series[:, :-1].unsqueeze(-1), series[:, 1:]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, opts.hidden, batch_first=True)
        self.fc = nn.Linear(opts.hidden, 1)

    def forward(self, x):
        return self.fc(self.lstm(x)[0]).squeeze(-1)


net = Net()
optim = torch.optim.Adam(net.parameters(), lr=opts.lr)
mse = nn.MSELoss(reduction="none")

for epoch in range(opts.epochs):
    net.train()
    order = torch.randperm(256)
    for chunk in order.split(32):
        out = net(inputs[chunk])
        loss = (mse(out, targets[chunk]) * mask[chunk]).sum() / mask[chunk].sum()
        optim.zero_grad()
        loss.backward()
        optim.step()
    net.eval()
    with torch.no_grad():
        err = ((net(inputs[256:]) - targets[256:]) ** 2 * mask[256:]).sum() / mask[256:].sum()
    print(f"epoch {epoch}: last train batch {loss.item():.4f}  valid RMSE {err.sqrt().item():.4f}")
