"""Wine quality classes with small metric objects, in the manner of a metrics library.

Source: JetBrains-Research/code2seq#112
"""

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Accuracy:
    def __init__(self):
        self.reset()

    def reset(self):
        self.correct, self.total = 0, 0

    def update(self, preds, target):
        self.correct += (preds.argmax(1) == target).sum().item()
        self.total += target.numel()

    def compute(self):
        return self.correct / self.total


torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
m, s = Xa.mean(0), Xa.std(0)
prepare = lambda X, y: TensorDataset(torch.tensor((X - m) / s).float(), torch.tensor(y))
train_loader = DataLoader(prepare(Xa, ya), batch_size=16, shuffle=True)
val_loader = DataLoader(prepare(Xb, yb), batch_size=36)
model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
val_acc = Accuracy()
for epoch in range(6):
    model.train()
    for x, t in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for x, t in val_loader:
            val_acc.update(model(x), t)
    print(f"epoch {epoch} loss {loss.item():.4f} val_acc {val_acc.compute():.4f}")  # expect: metric-not-reset
