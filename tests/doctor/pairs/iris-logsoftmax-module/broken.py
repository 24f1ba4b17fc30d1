"""Iris classification with log-probabilities and NLLLoss.

Source: ethanfetaya/NRI#25
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_iris

np.random.seed(3)
torch.manual_seed(3)

iris = load_iris()
order = np.random.permutation(150)
x = torch.FloatTensor(iris.data[order])
y = torch.LongTensor(iris.target[order])
x_train, y_train, x_test, y_test = x[:120], y[:120], x[120:], y[120:]
mean, std = x_train.mean(0), x_train.std(0)
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.hidden = nn.Linear(4, 16)
        self.out = nn.Linear(16, 3)
        self.log_softmax = nn.LogSoftmax(dim=0)  # expect: softmax-over-batch

    def forward(self, x):
        x = torch.tanh(self.hidden(x))
        return self.log_softmax(self.out(x))  # expect: softmax-over-batch


net = Net()
criterion = nn.NLLLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

for epoch in range(30):
    net.train()
    perm = torch.randperm(120)
    for i in range(0, 120, 20):
        batch = perm[i : i + 20]
        optimizer.zero_grad()
        loss = criterion(net(x_train[batch]), y_train[batch])  # may: probabilities-expected
        loss.backward()
        optimizer.step()
    if epoch % 10 == 9:
        net.eval()
        with torch.no_grad():
            acc = (net(x_test).argmax(1) == y_test).float().mean().item()
        print("epoch %d last loss %.4f test acc %.3f" % (epoch + 1, loss.item(), acc))
