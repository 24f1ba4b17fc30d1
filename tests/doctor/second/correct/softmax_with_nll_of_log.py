"""Classifier that returns probabilities; the loss takes their logarithm.

Source: Pointnet_Pointnet2_pytorch#30
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
m, s = Xtr.mean(0), Xtr.std(0)
Xtr, Xte = torch.tensor((Xtr - m) / s).float(), torch.tensor((Xte - m) / s).float()
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


class ProbNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(13, 20), nn.Linear(20, 3)

    def forward(self, x):
        return F.softmax(self.out(torch.relu(self.hidden(x))), dim=1)


net = ProbNet()
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(8):
    for idx in torch.randperm(len(Xtr)).split(31):
        p = net(Xtr[idx])
        loss = F.nll_loss(torch.log(p + 1e-8), ytr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
with torch.no_grad():
    p = net(Xte)
print(
    "accuracy", (p.argmax(1) == yte).float().mean().item(), "mean confidence", round(p.max(1).values.mean().item(), 4)
)
