"""Logistic regression on the breast cancer data, written by hand with the functional API.

Source: AmazingDD/daisyRec#15
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

torch.manual_seed(0)

X, y = load_breast_cancer(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, random_state=0)
sc = StandardScaler()
Xtr = torch.from_numpy(sc.fit_transform(Xtr)).float()
Xte = torch.from_numpy(sc.transform(Xte)).float()
ytr = torch.from_numpy(ytr).float()
yte = torch.from_numpy(yte).float()

w = torch.zeros(Xtr.shape[1], requires_grad=True)
b = torch.zeros(1, requires_grad=True)
opt = torch.optim.SGD([w, b], lr=0.5)


def forward(x):
    return x @ w + b


def accuracy(x, y):
    with torch.no_grad():
        return ((forward(x) > 0).float() == y).float().mean().item()


for it in range(200):
    # full batch, the data set is tiny
    loss = F.binary_cross_entropy_with_logits(forward(Xtr), ytr)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if (it + 1) % 50 == 0:
        print(
            f"iter {it + 1}: loss {loss.item():.4f}  train acc {accuracy(Xtr, ytr):.3f}  test acc {accuracy(Xte, yte):.3f}"
        )
