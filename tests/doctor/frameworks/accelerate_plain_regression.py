# needs: accelerate
"""Small regression with Accelerate: prepare, backward, save and load the state."""

import tempfile

import torch
from accelerate import Accelerator
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
x = torch.rand(480, 4) * 2 - 1
y = (3 * x[:, :1] * x[:, 1:2]).tanh() + 0.05 * torch.randn(480, 1)
train, valid = TensorDataset(x[:384], y[:384]), TensorDataset(x[384:], y[384:])
net = nn.Sequential(nn.Linear(4, 40), nn.Tanh(), nn.Linear(40, 1))
opt = optim.RMSprop(net.parameters(), lr=3e-3)
net, opt, train_loader, valid_loader = accelerator.prepare(
    net, opt, DataLoader(train, batch_size=32, shuffle=True), DataLoader(valid, batch_size=48)
)


def rmse():
    net.eval()
    total = 0.0
    with torch.no_grad():
        for xb, yb in valid_loader:
            total += (net(xb) - yb).pow(2).sum().item()
    return (total / len(valid)) ** 0.5


with tempfile.TemporaryDirectory() as folder:
    best = float("inf")
    for epoch in range(6):
        net.train()
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = nn.functional.mse_loss(net(xb), yb)
            accelerator.backward(loss)
            opt.step()
        error = rmse()
        if error < best:
            best = error
            accelerator.save_state(folder)
        accelerator.print(f"epoch {epoch}: rmse {error:.4f}")
    accelerator.load_state(folder)
accelerator.print(f"best {best:.4f} restored {rmse():.4f}")
