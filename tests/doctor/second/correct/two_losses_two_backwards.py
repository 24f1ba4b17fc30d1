"""Two losses of one batch, each sent backward by itself before a single step.

Source: facebookresearch/MetaBalance#2
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy as ce, mse_loss

torch.manual_seed(0)
x = torch.randn(600, 12)
w = torch.randn(12, 4)
label = (x @ w).argmax(1)
value = (x[:, :3] ** 2).sum(1, keepdim=True) / 3

trunk = nn.Sequential(nn.Linear(12, 32), nn.ReLU())
classify, regress = nn.Linear(32, 4), nn.Linear(32, 1)
everything = nn.ModuleList([trunk, classify, regress])
optimizer = torch.optim.Adam(everything.parameters(), lr=5e-3)

train, test = slice(0, 480), slice(480, 600)
for epoch in range(6):
    for idx in torch.randperm(480).split(48):
        optimizer.zero_grad()
        h = trunk(x[idx])
        loss_c = ce(classify(h), label[idx])
        loss_c.backward(retain_graph=True)  # the trunk's part is needed once more
        loss_r = 0.5 * mse_loss(regress(h), value[idx])
        loss_r.backward()
        optimizer.step()
    print(epoch, round(loss_c.item(), 4), round(loss_r.item(), 4))

with torch.no_grad():
    h = trunk(x[test])
    print("accuracy", (classify(h).argmax(1) == label[test]).float().mean().item())
    print("mse", round(mse_loss(regress(h), value[test]).item(), 4))
