"""An imbalanced problem where a weak model honestly predicts the larger class everywhere.

Source: hellochick/ICNet-tensorflow#65
"""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
x = torch.randn(600, 5)
y = (torch.rand(600) < torch.sigmoid(0.4 * x[:, 0] - 2.5)).long()  # hardly anything to be learnt
train, test = random_split(TensorDataset(x, y), [450, 150])
net = nn.Linear(5, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3)
for epoch in range(5):
    total = 0.0
    for xb, yb in DataLoader(train, batch_size=32, shuffle=True):
        loss = nn.functional.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(yb)
    print(f"{epoch} {total / len(train):.4f}")
net.eval()
with torch.no_grad():
    xb, yb = next(iter(DataLoader(test, batch_size=150)))
    prob = net(xb).softmax(1)[:, 1]
print(
    "predicted positives",
    int((prob > 0.5).sum()),
    "of",
    int(yb.sum()),
    "mean probability",
    round(prob.mean().item(), 4),
)
