"""A physics-informed net for a decay equation, trained with LBFGS; evaluation needs gradients too.

Source: NeuralSolvers#20
"""

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
t = torch.linspace(0, 2, 40).unsqueeze(1).requires_grad_(True)
t0 = torch.zeros(1, 1)


def residual(points):
    u = net(points)
    (du,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    return du + 2 * u


optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=10, line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    loss = residual(t).pow(2).mean() + (net(t0) - 1).pow(2).mean()
    loss.backward()
    return loss


for step in range(6):
    loss = optimizer.step(closure)
    print(step, f"{loss.item():.6f}")

check = torch.rand(50, 1).requires_grad_(True)
print("residual off the grid", f"{residual(check).abs().mean().item():.5f}")
print("error", f"{(net(check) - torch.exp(-2 * check)).abs().mean().item():.5f}")
