"""Physics-informed network for a damped oscillator, with a few measured points.

Source: Photon-AI-Research/NeuralSolvers#20
"""

import torch
import torch.nn as nn

torch.manual_seed(123)

delta, omega0 = 0.5, 4.0
omega = (omega0**2 - delta**2) ** 0.5


def exact(t):
    return torch.exp(-delta * t) * torch.cos(omega * t)


class FCN(nn.Module):
    def __init__(self, hidden, layers):
        super().__init__()
        mods = [nn.Linear(1, hidden), nn.Tanh()]
        for _ in range(layers - 1):
            mods += [nn.Linear(hidden, hidden), nn.Tanh()]
        self.net = nn.Sequential(*mods, nn.Linear(hidden, 1))

    def forward(self, t):
        return self.net(t)


t_obs = torch.linspace(0, 1, 24)
u_obs = exact(t_obs) + 0.01 * torch.randn_like(t_obs)
t_phys = torch.linspace(0, 1, 40).view(-1, 1).requires_grad_(True)

pinn = FCN(24, 2)
optimiser = torch.optim.Adam(pinn.parameters(), lr=5e-3)

for i in range(201):
    optimiser.zero_grad()

    # data loss
    u = pinn(t_obs.view(-1, 1))
    loss_data = torch.mean((u - u_obs) ** 2)  # expect: loss-broadcast

    # physics loss: u'' + 2 delta u' + omega0^2 u = 0
    u = pinn(t_phys)
    du = torch.autograd.grad(u, t_phys, torch.ones_like(u), create_graph=True)[0]
    d2u = torch.autograd.grad(du, t_phys, torch.ones_like(du), create_graph=True)[0]
    loss_phys = torch.mean((d2u + 2 * delta * du + omega0**2 * u) ** 2)

    loss = loss_data + 1e-4 * loss_phys
    loss.backward()
    optimiser.step()

    if i % 50 == 0:
        with torch.no_grad():
            t = torch.linspace(0, 1, 100)
            err = (pinn(t.view(-1, 1)).view(-1) - exact(t)).abs().max().item()
        print(f"{i:4d}  loss {loss.item():.5f}  max error {err:.4f}")
