"""Distils a wide teacher into a narrow student on digits.

Source: microsoft/ProDA#20
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(0)
d = load_digits()
Xtr, Xte, ytr, yte = train_test_split(d.data / 16, d.target, test_size=0.25, random_state=0)
Xtr, Xte = torch.tensor(Xtr).float(), torch.tensor(Xte).float()
ytr, yte = torch.tensor(ytr), torch.tensor(yte)

teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
student = nn.Sequential(nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10))


def accuracy(net):
    net.eval()
    with torch.no_grad():
        return (net(Xte).argmax(1) == yte).float().mean().item()


opt = torch.optim.Adam(teacher.parameters(), lr=5e-3)
for epoch in range(6):
    teacher.train()
    for idx in torch.randperm(len(Xtr)).split(64):
        opt.zero_grad()
        F.cross_entropy(teacher(Xtr[idx]), ytr[idx]).backward()
        opt.step()
print("teacher", round(accuracy(teacher), 4))

T, alpha = 3.0, 0.7
opt = torch.optim.Adam(student.parameters(), lr=5e-3)
teacher.eval()
for epoch in range(6):
    student.train()
    for idx in torch.randperm(len(Xtr)).split(64):
        with torch.no_grad():
            soft = F.softmax(teacher(Xtr[idx]) / T, dim=1)
        logits = student(Xtr[idx])
        kd = F.kl_div(F.softmax(logits / T, dim=1), soft, reduction="batchmean") * T * T  # expect: probabilities-expected  # fmt: skip
        loss = alpha * kd + (1 - alpha) * F.cross_entropy(logits, ytr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("student epoch", epoch, "loss", round(loss.item(), 4), "acc", round(accuracy(student), 4))
