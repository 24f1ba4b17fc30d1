"""Physics informed network for a damped oscillator: a few Adam steps, then L-BFGS with a closure.

Source: SharifiZarchi/Introduction_to_Machine_Learning#55
"""

import torch
import torch.nn as nn

torch.manual_seed(2)

delta, omega = 0.3, 2.0
net = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
t_physics = torch.linspace(0, 3, 40).view(-1, 1).requires_grad_(True)
t0 = torch.zeros(1, 1, requires_grad=True)


def exact(t):
    w = (omega**2 - delta**2) ** 0.5
    return torch.exp(-delta * t) * (torch.cos(w * t) + delta / w * torch.sin(w * t))


def residual_loss():
    u0 = net(t0)
    du0 = torch.autograd.grad(u0, t0, torch.ones_like(u0), create_graph=True)[0]
    start = (u0 - 1).pow(2).mean() + 0.1 * du0.pow(2).mean()
    u = net(t_physics)
    du = torch.autograd.grad(u, t_physics, torch.ones_like(u), create_graph=True)[0]
    d2u = torch.autograd.grad(du, t_physics, torch.ones_like(du), create_graph=True)[0]
    ode = (d2u + 2 * delta * du + omega**2 * u).pow(2).mean()
    return start + 0.01 * ode


adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for i in range(30):
    adam.zero_grad()
    loss = residual_loss()
    loss.backward()
    adam.step()
print(f"adam   loss {residual_loss().item():.5f}")

lbfgs = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=5, history_size=10)
lbfgs.zero_grad()


def closure():
    loss = residual_loss()
    loss.backward()  # expect: gradients-not-cleared
    return loss


for i in range(10):
    lbfgs.step(closure)

t = torch.linspace(0, 3, 100).view(-1, 1)
net.eval()
with torch.no_grad():
    error = (net(t) - exact(t)).pow(2).mean().sqrt().item()
print(f"l-bfgs loss {residual_loss().item():.5f}, rms error {error:.4f}")
