"""Stochastic weight averaging with torch.optim.swa_utils and update_bn at the end.

Source: pytorch docs torch.optim.swa_utils
"""

import torch
import torch.nn as nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.rand(900, 6) * 2 - 1
y = ((X[:, 0] * X[:, 1] + X[:, 2].pow(2) - 0.3) > 0).long()
loader = DataLoader(TensorDataset(X[:704], y[:704]), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(X[704:], y[704:]), batch_size=98)

model = nn.Sequential(
    nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2)
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
swa_model = AveragedModel(model)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
swa_start = 8
swa_scheduler = SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)


def test(net):
    net.eval()
    correct = 0
    with torch.no_grad():
        for input, target in test_loader:
            correct += (net(input).argmax(dim=1) == target).sum().item()
    return correct / len(test_loader.dataset)


for epoch in range(12):
    model.train()
    for input, target in loader:
        optimizer.zero_grad()
        loss_fn(model(input), target).backward()
        optimizer.step()
    if epoch >= swa_start:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
    print(epoch, "lr %.4f" % optimizer.param_groups[0]["lr"], "test accuracy %.3f" % test(model))

# Update bn statistics for the swa_model at the end
update_bn(loader, swa_model)
print("averaged", "%.3f" % test(swa_model))
