"""Knowledge distillation on digits: KL divergence at a temperature plus the usual cross-entropy.

Source: peterliht/knowledge-distillation-pytorch
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X / 16, y, test_size=0.3, random_state=0)
to = lambda a, b: TensorDataset(torch.as_tensor(a, dtype=torch.float32), torch.as_tensor(b))
train_loader = DataLoader(to(Xtr, ytr), batch_size=64, shuffle=True)
test_loader = DataLoader(to(Xte, yte), batch_size=256)

teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10))
student = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def loss_fn_kd(outputs, labels, teacher_outputs, alpha=0.9, T=4.0):
    soft = F.kl_div(F.log_softmax(outputs / T, dim=1), F.softmax(teacher_outputs / T, dim=1), reduction="batchmean")
    return soft * (alpha * T * T) + F.cross_entropy(outputs, labels) * (1.0 - alpha)


def accuracy(net):
    net.eval()
    hits = 0
    with torch.no_grad():
        for x, t in test_loader:
            hits += net(x).argmax(1).eq(t).sum().item()
    return hits / len(test_loader.dataset)


opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
for epoch in range(4):
    teacher.train()
    for x, t in train_loader:
        opt.zero_grad()
        F.cross_entropy(teacher(x), t).backward()
        opt.step()
print("teacher", round(accuracy(teacher), 4))

teacher.eval()
opt = torch.optim.Adam(student.parameters(), lr=5e-3)
for epoch in range(5):
    student.train()
    for x, t in train_loader:
        with torch.no_grad():
            teacher_logits = teacher(x)
        loss = loss_fn_kd(student(x), t, teacher_logits)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("student epoch", epoch, round(accuracy(student), 4))
