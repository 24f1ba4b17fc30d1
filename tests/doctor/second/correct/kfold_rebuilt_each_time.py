"""Repeated k-fold with everything rebuilt per fold, statistics from the training part.

Source: kkraoj/lfmc_from_sar#5
"""

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch import nn

X, y = load_diabetes(return_X_y=True)


def fold_score(tr, te, seed):
    torch.manual_seed(seed)  # same start for each fold, so that folds can be compared
    sx, sy = StandardScaler().fit(X[tr]), StandardScaler().fit(y[tr, None])
    to = lambda rows: (
        torch.tensor(sx.transform(X[rows]), dtype=torch.float32),
        torch.tensor(sy.transform(y[rows, None]), dtype=torch.float32),
    )
    (xa, ya), (xb, yb) = to(tr), to(te)
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(6):
        for idx in torch.randperm(len(xa)).split(32):
            opt.zero_grad()
            nn.functional.mse_loss(net(xa[idx]), ya[idx]).backward()
            opt.step()
    with torch.no_grad():
        return 1 - (nn.functional.mse_loss(net(xb), yb) / yb.var(unbiased=False)).item()


for repeat in range(2):
    folds = KFold(4, shuffle=True, random_state=repeat).split(X)
    scores = [fold_score(tr, te, 0) for tr, te in folds]
    print("repeat", repeat, "r2", [round(s, 3) for s in scores], "mean", round(float(np.mean(scores)), 4))
