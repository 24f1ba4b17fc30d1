"""Highway network for one step ahead forecasts of a noisy pendulum.

Source: pytorch/pytorch#715
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F


class HighwayNet(nn.Module):
    def __init__(self, options):
        super(HighwayNet, self).__init__()
        n_hid = options.n_hid
        self.inp = nn.Linear(options.lags, n_hid)
        self.hids = []  # expect: module-not-registered
        for li in range(options.n_layers):
            layer = nn.Linear(n_hid, 2 * n_hid)
            layer.bias.data[n_hid:].fill_(-1.0)  # carry at first
            self.hids.append(layer)
        self.out = nn.Linear(n_hid, 1)

    def forward(self, x):
        h = torch.tanh(self.inp(x))
        for layer in self.hids:
            new, gate = layer(h).chunk(2, dim=1)
            gate = torch.sigmoid(gate)
            h = gate * torch.tanh(new) + (1 - gate) * h
        return self.out(h).squeeze(1)


def pendulum(steps, dt=0.1):
    angle, speed, out = 2.5, 0.0, []
    for _ in range(steps):
        speed -= dt * torch.sin(torch.tensor(angle)).item()
        angle += dt * speed
        out.append(angle)
    return torch.tensor(out) + 0.05 * torch.randn(steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lags", type=int, default=10)
    parser.add_argument("--n_hid", type=int, default=24)
    parser.add_argument("--n_layers", type=int, default=4)
    parser.add_argument("--n_iters", type=int, default=150)
    options = parser.parse_args()
    torch.manual_seed(99)

    series = pendulum(700)
    frames = series.unfold(0, options.lags + 1, 1)
    train, test = frames[:500], frames[500 + options.lags :]
    model = HighwayNet(options)
    print("number of parameters:", sum(p.numel() for p in model.parameters()))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    for it in range(1, options.n_iters + 1):
        model.train()
        rows = train[torch.randint(0, len(train), (50,))]
        loss = F.mse_loss(model(rows[:, :-1]), rows[:, -1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if it % 50 == 0:
            model.eval()
            with torch.no_grad():
                print(f"{it} test mse {F.mse_loss(model(test[:, :-1]), test[:, -1]).item():.5f}")
