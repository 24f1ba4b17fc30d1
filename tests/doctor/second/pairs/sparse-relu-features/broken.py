"""Sparse feature learner: rectified units with a negative starting bias.

Source: nndl/solutions#10
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

torch.manual_seed(0)
X, y = load_iris(return_X_y=True)
Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
m, s = Xa.mean(0), Xa.std(0)
Xa, Xb = torch.tensor((Xa - m) / s).float(), torch.tensor((Xb - m) / s).float()
ya, yb = torch.tensor(ya), torch.tensor(yb)


class SparseNet(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, hidden), nn.Linear(hidden, 3)
        nn.init.constant_(self.fc1.bias, -10.0)  # expect: units-dead

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))  # expect: units-dead


net = SparseNet()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(12):
    for idx in torch.randperm(len(Xa)).split(15):
        opt.zero_grad()
        loss = F.cross_entropy(net(Xa[idx]), ya[idx])  # expect: units-dead
        loss.backward()
        opt.step()
    if epoch % 4 == 3:
        print(f"epoch {epoch} loss {loss.item():.4f}")
net.eval()
with torch.no_grad():
    active = (net.fc1(Xb) > 0).float().mean().item()
    print("active units", round(active, 4), "accuracy", (net(Xb).argmax(1) == yb).float().mean().item())
