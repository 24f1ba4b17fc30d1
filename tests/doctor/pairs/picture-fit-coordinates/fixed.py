"""Fit a coordinate network to one picture and keep the loss curve.

Source: rballester/tntorch#19
"""

import torch
import torch.nn as nn

torch.manual_seed(0)

n = 24
u = torch.linspace(-1, 1, n)
coords = torch.cartesian_prod(u, u)
picture = torch.sin(6 * coords[:, :1]) * torch.cos(4 * coords[:, 1:]) + (coords.norm(dim=1, keepdim=True) < 0.5).float()


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(10.0 * x)


net = nn.Sequential(nn.Linear(2, 32), Sine(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

loss_history = []
for it in range(60):
    optimizer.zero_grad()
    loss = ((net(coords) - picture) ** 2).mean()
    loss.backward()
    optimizer.step()
    loss_history.append(loss.item())

print("first", " ".join(f"{v:.4f}" for v in loss_history[:3]))
print("last ", " ".join(f"{v:.4f}" for v in loss_history[-3:]))
best = min(range(len(loss_history)), key=lambda i: loss_history[i])
print(f"best iteration {best}")
net.eval()
with torch.no_grad():
    psnr = 10 * torch.log10(picture.max() ** 2 / ((net(coords) - picture) ** 2).mean())
print(f"PSNR {psnr.item():.2f} dB")
