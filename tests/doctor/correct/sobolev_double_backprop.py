"""Learn an energy surface from values and forces: forces are input gradients inside the loss and at evaluation.

Source: atomistic-machine-learning/schnetpack
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def energy(x):
    return (x**2).sum(1, keepdim=True) * 0.5 + torch.cos(2 * x[:, :1]) * torch.sin(x[:, 1:])


def true_forces(x):
    x = x.clone().requires_grad_()
    return -torch.autograd.grad(energy(x).sum(), x)[0]


class Potential(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x):
        x = x.requires_grad_()
        e = self.net(x)
        (grad,) = torch.autograd.grad(e.sum(), x, create_graph=self.training)
        return e, -grad


torch.manual_seed(0)
x = torch.rand(500, 2) * 4 - 2
dataset = TensorDataset(x, energy(x), true_forces(x))
train, test = torch.utils.data.random_split(dataset, [400, 100])
train_loader, test_loader = DataLoader(train, batch_size=40, shuffle=True), DataLoader(test, batch_size=100)
model = Potential()
opt = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(10):
    model.train()
    for x, e, f in train_loader:
        pred_e, pred_f = model(x)
        loss = nn.functional.mse_loss(pred_e, e) + nn.functional.mse_loss(pred_f, f)
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 3 == 0:
        model.eval()
        energy_error = force_error = 0.0
        for x, e, f in test_loader:  # no torch.no_grad(): the forces are derivatives
            pred_e, pred_f = model(x)
            energy_error += (pred_e.detach() - e).abs().sum().item()
            force_error += (pred_f.detach() - f).abs().sum().item()
        print(f"epoch {epoch} energy MAE {energy_error / len(test):.4f} force MAE {force_error / (2 * len(test)):.4f}")
