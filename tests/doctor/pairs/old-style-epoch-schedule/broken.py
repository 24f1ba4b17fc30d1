"""Iris MLP written in the style of PyTorch 1.0 tutorials.

Source: pytorch/pytorch#54393
"""

from __future__ import print_function

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_iris

torch.manual_seed(7)

iris = load_iris()
perm = torch.randperm(150)
data = torch.from_numpy(iris.data).float()[perm]
target = torch.from_numpy(iris.target).long()[perm]
data = (data - data[:110].mean(0)) / data[:110].std(0)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(4, 20)
        self.fc2 = nn.Linear(20, 3)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.1)
# a large first step, then slower and slower
scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 4], gamma=0.3)

for epoch in range(6):
    scheduler.step()  # expect: scheduler-before-optimizer
    net.train()
    lr = optimizer.param_groups[0]["lr"]
    order = torch.randperm(110)
    for i in range(0, 110, 11):
        index = order[i : i + 11]
        optimizer.zero_grad()
        loss = criterion(net(data[index]), target[index])
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        correct = (net(data[110:]).argmax(1) == target[110:]).sum().item()
    print("Epoch: {}, lr: {:.4f}, Last loss: {:.6f}, Test: {}/40".format(epoch, lr, loss.item(), correct))
