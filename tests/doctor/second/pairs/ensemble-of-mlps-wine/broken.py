"""Deep ensemble of three small nets with batch norm on the wine data.

Source: wolny/pytorch-3dunet#53
"""

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=3, stratify=y)
mean, std = X_train.mean(0), X_train.std(0)
t = lambda a: torch.tensor((a - mean) / std, dtype=torch.float32)
train_set = TensorDataset(t(X_train), torch.tensor(y_train))
test_loader = DataLoader(TensorDataset(t(X_test), torch.tensor(y_test)), batch_size=24)


def member():
    return nn.Sequential(nn.Linear(13, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.4), nn.Linear(24, 3))


ensemble = [member() for _ in range(3)]
for k, net in enumerate(ensemble):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loader = DataLoader(train_set, batch_size=16, shuffle=True, drop_last=True)
    net.train()
    for epoch in range(4):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
    print("member", k, "last loss", round(loss.item(), 4))

net.eval()
hits, nll = 0, 0.0
with torch.no_grad():
    for xb, yb in test_loader:
        probs = torch.stack([net(xb).softmax(1) for net in ensemble]).mean(0)  # expect: evaluated-in-training-mode
        hits += (probs.argmax(1) == yb).sum().item()
        nll += nn.functional.nll_loss(probs.log(), yb, reduction="sum").item()
n = len(test_loader.dataset)
print(f"ensemble accuracy {hits / n:.4f} nll {nll / n:.4f}")
