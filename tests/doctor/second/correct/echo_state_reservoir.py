"""Echo state network: a fixed random reservoir, only the read-out is trained.

Source: El3ssar/ResDAG#261
"""

import torch
from torch import nn

torch.manual_seed(0)
t = torch.arange(900, dtype=torch.float32)
u = torch.sin(t / 4) * torch.sin(t / 17)


class Reservoir(nn.Module):
    def __init__(self, size=80):
        super().__init__()
        w = torch.randn(size, size)
        self.register_buffer("w", 0.9 * w / torch.linalg.eigvals(w).abs().max())
        self.register_buffer("w_in", torch.randn(size))
        self.readout = nn.Linear(size, 1)

    @torch.no_grad()
    def states(self, u):
        h, out = torch.zeros(len(self.w)), []
        for v in u:
            h = torch.tanh(self.w @ h + self.w_in * v)
            out.append(h)
        return torch.stack(out)

    def forward(self, states):
        return self.readout(states).squeeze(-1)


net = Reservoir()
S = net.states(u[:-1])
train, test = slice(50, 600), slice(600, 899)
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for it in range(200):
    loss = nn.functional.mse_loss(net(S[train]), u[1:][train])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 50 == 49:
        print(it + 1, f"{loss.item():.6f}")
with torch.no_grad():
    print("test", f"{nn.functional.mse_loss(net(S[test]), u[1:][test]).item():.6f}")
