"""Unfreeze a pretrained encoder layer by layer; each newly trained layer joins the optimizer as a parameter group.

Source: fastai/fastai gradual unfreezing (ULMFiT)
"""

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)


def encoder():
    return nn.ModuleList([nn.Linear(10, 32), nn.Linear(32, 32), nn.Linear(32, 16)])


class Net(nn.Module):
    def __init__(self, layers, n_out):
        super().__init__()
        self.layers, self.head = layers, nn.Linear(16, n_out)

    def forward(self, x):
        for layer in self.layers:
            x = F.elu(layer(x))
        return self.head(x)


def batches(x, y):
    return DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)


latent = torch.randn(1200, 4)
x = (latent @ torch.randn(4, 10)).tanh() + 0.05 * torch.randn(1200, 10)

# pretraining: recover the latent variables
pre = Net(encoder(), 4)
opt = optim.Adam(pre.parameters(), lr=5e-3)
for epoch in range(3):
    for xb, zb in batches(x[:800], latent[:800]):
        opt.zero_grad()
        loss = F.mse_loss(pre(xb), zb)
        loss.backward()
        opt.step()
print(f"pretraining mse {loss.item():.4f}")

# a new task with few labels
labels = (latent[:, 0] * latent[:, 1] > 0).long()
net = Net(encoder(), 2)
net.layers.load_state_dict(pre.layers.state_dict())
for p in net.layers.parameters():
    p.requires_grad = False
optimizer = optim.Adam(net.head.parameters(), lr=1e-2)
for epoch in range(6):
    if epoch in (2, 3, 4):
        layer = net.layers[4 - epoch]
        layer.requires_grad_(True)
        optimizer.add_param_group({"params": layer.parameters(), "lr": 5e-3 / 2 ** (epoch - 2)})
    net.train()
    for xb, yb in batches(x[800:1000], labels[800:1000]):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(xb), yb)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        acc = (net(x[1000:]).argmax(1) == labels[1000:]).float().mean().item()
    trained = sum(p.requires_grad for p in net.parameters())
    print(f"epoch {epoch} trained tensors {trained} test acc {acc:.3f}")
