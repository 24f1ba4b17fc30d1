"""Five fold cross validation of a small network on the breast cancer data.

Source: pytorch/pytorch#14467
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold

seed = 2
torch.manual_seed(seed)
X, y = load_breast_cancer(return_X_y=True)


class Net(nn.Module):
    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.hidden = nn.Linear(n_in, n_hidden)
        self.out = nn.Linear(n_hidden, 2)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


def fit(net, optimizer, x, y, epochs=6):
    net.train()
    for _ in range(epochs):
        for idx in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[idx]), y[idx]).backward()
            optimizer.step()


net = Net(X.shape[1], 16)
scores = []
for fold, (tr, te) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y)):
    net = Net(X.shape[1], 16)  # fresh weights for every fold
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    mean, std = X[tr].mean(0), X[tr].std(0)
    x_tr = torch.tensor((X[tr] - mean) / std, dtype=torch.float32)
    x_te = torch.tensor((X[te] - mean) / std, dtype=torch.float32)
    fit(net, optimizer, x_tr, torch.tensor(y[tr]))
    net.eval()
    with torch.no_grad():
        acc = (net(x_te).argmax(1).numpy() == y[te]).mean()
    scores.append(acc)
    print(f"fold {fold + 1}: {acc:.3f}")
print(f"mean {np.mean(scores):.3f} +- {np.std(scores):.3f}")
