"""Physics-informed network for a damped oscillator; the residual needs gradients in evaluation as well.

Source: benmoseley/harmonic-oscillator-pinn
"""

import torch
import torch.nn as nn

d, w0 = 1.0, 4.0


def exact(t):
    w = (w0**2 - d**2) ** 0.5
    return torch.exp(-d * t) * (torch.cos(w * t) + d / w * torch.sin(w * t))


class FCN(nn.Module):
    def __init__(self, n_hidden=32, n_layers=3):
        super().__init__()
        layers = [nn.Linear(1, n_hidden), nn.Tanh()]
        for _ in range(n_layers - 1):
            layers += [nn.Linear(n_hidden, n_hidden), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(n_hidden, 1))

    def forward(self, x):
        return self.net(x)


def residual(pinn, t):
    u = pinn(t)
    dudt = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
    d2udt2 = torch.autograd.grad(dudt, t, torch.ones_like(dudt), create_graph=True)[0]
    return d2udt2 + 2 * d * dudt + w0**2 * u


torch.manual_seed(123)
pinn = FCN()
t_boundary = torch.tensor(0.0).view(-1, 1).requires_grad_(True)
t_physics = torch.linspace(0, 1, 30).view(-1, 1).requires_grad_(True)
t_test = torch.linspace(0.01, 0.99, 60).view(-1, 1).requires_grad_(True)
optimiser = torch.optim.Adam(pinn.parameters(), lr=2e-3)

for i in range(121):
    pinn.train()
    optimiser.zero_grad()
    u = pinn(t_boundary)
    loss1 = (torch.squeeze(u) - 1) ** 2
    dudt = torch.autograd.grad(u, t_boundary, torch.ones_like(u), create_graph=True)[0]
    loss2 = (torch.squeeze(dudt) - 0) ** 2
    loss3 = torch.mean(residual(pinn, t_physics) ** 2)
    loss = loss1 + 1e-1 * loss2 + 1e-2 * loss3
    loss.backward()
    optimiser.step()
    if i % 30 == 0:
        pinn.eval()
        res = residual(pinn, t_test).detach().abs().mean().item()
        err = (pinn(t_test) - exact(t_test)).detach().pow(2).mean().item()
        print(f"{i}: loss {loss.item():.4f}, mean |residual| {res:.3f}, mse to the exact solution {err:.4f}")
