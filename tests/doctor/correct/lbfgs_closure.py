"""Fit a small regression net with L-BFGS, the loss evaluated several times a step in a closure.

Source: pytorch/examples time_sequence_prediction
"""

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_diabetes

torch.manual_seed(0)
x, y = load_diabetes(return_X_y=True)
x, y = torch.tensor(x), torch.tensor(y).unsqueeze(1)
order = torch.randperm(len(x))
train, test = order[:330], order[330:]
x = (x - x[train].mean(0)) / x[train].std(0)
y = (y - y[train].mean()) / y[train].std()

seq = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1)).double()
criterion = nn.MSELoss()
# use LBFGS as optimizer since we can load the whole data to train
optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=5)

for i in range(8):
    print("STEP: ", i)

    def closure():
        optimizer.zero_grad()
        out = seq(x[train])
        loss = criterion(out, y[train]) + 1e-2 * sum(p.pow(2).sum() for p in seq.parameters())
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    with torch.no_grad():
        pred = seq(x[test])
        print("loss:", round(loss.item(), 4), "test loss:", round(criterion(pred, y[test]).item(), 4))
