"""Stochastic weight averaging with batch-norm statistics renewed in train mode at the end.

Source: huggingface/pytorch-image-models#245
"""

import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(700, 12)
y = (x[:, 0] + x[:, 1] ** 2 > 1).long()
train = DataLoader(TensorDataset(x[:560], y[:560]), batch_size=56, shuffle=True)
net = nn.Sequential(nn.Linear(12, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 2))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
swa_net, swa_schedule = AveragedModel(net), SWALR(opt, swa_lr=0.05, anneal_epochs=2)
for epoch in range(10):
    net.train()
    for xb, yb in train:
        loss = nn.functional.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch >= 5:
        swa_net.update_parameters(net)
        swa_schedule.step()
update_bn(train, swa_net)
net.eval(), swa_net.eval()
with torch.no_grad():
    for name, m in (("last", net), ("averaged", swa_net)):
        out = m(x[560:])
        print(
            name,
            round(nn.functional.cross_entropy(out, y[560:]).item(), 4),
            (out.argmax(1) == y[560:]).float().mean().item(),
        )
