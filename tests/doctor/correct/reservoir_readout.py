"""Echo state network: a fixed random reservoir, only the readout is learnt by gradient descent.

Source: stefanonardo/pytorch-esn
"""

import torch
from torch import nn


class Reservoir(nn.Module):
    def __init__(self, n_in, size, spectral_radius=0.9):
        super().__init__()
        self.w_in = nn.Parameter(torch.rand(size, n_in) * 2 - 1, requires_grad=False)
        w = torch.randn(size, size) * (torch.rand(size, size) < 0.1)
        w *= spectral_radius / torch.linalg.eigvals(w).abs().max()
        self.w = nn.Parameter(w, requires_grad=False)

    @torch.no_grad()
    def forward(self, u):
        h, states = u.new_zeros(self.w.size(0)), []
        for u_t in u:
            h = torch.tanh(self.w_in @ u_t + self.w @ h)
            states.append(h)
        return torch.stack(states)


class EchoStateNetwork(nn.Module):
    def __init__(self, n_in=1, size=80, n_out=1):
        super().__init__()
        self.reservoir = Reservoir(n_in, size)
        self.readout = nn.Linear(size, n_out)

    def forward(self, u):
        return self.readout(self.reservoir(u))


torch.manual_seed(12)
t = torch.arange(700).float()
signal = ((0.2 * t).sin() + 0.5 * (0.311 * t).sin()).unsqueeze(1) / 1.5
washout, split = 50, 500
esn = EchoStateNetwork()
optimizer = torch.optim.Adam([p for p in esn.parameters() if p.requires_grad], lr=5e-3)

for epoch in range(24):
    esn.train()
    prediction = esn(signal[:split])
    loss = (prediction[washout:] - signal[washout + 1 : split + 1]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 8 == 7:
        esn.eval()
        with torch.no_grad():
            test = (esn(signal[:-1])[split:] - signal[split + 1 :]).pow(2).mean().item()
        print(f"epoch {epoch + 1} train mse {loss.item():.4f} test mse {test:.4f}")
