"""Distillation with the teacher's logits computed once per epoch and kept in a list.

Source: haitongli/knowledge-distillation-pytorch#17
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def blobs(n, seed):
    g = torch.Generator().manual_seed(seed)
    centre = 1.6 * torch.randn(5, 8, generator=torch.Generator().manual_seed(100))
    y = torch.randint(0, 5, (n,), generator=g)
    return TensorDataset(centre[y] + torch.randn(n, 8, generator=g), y)


train_set, test_set = blobs(500, 0), blobs(250, 1)
train_dl = DataLoader(train_set, batch_size=50, shuffle=True)
test_x, test_y = test_set.tensors


def fetch_teacher_outputs(teacher, loader):
    teacher.eval()
    with torch.no_grad():
        return teacher(loader.dataset.tensors[0])


def accuracy(net):
    net.eval()
    with torch.no_grad():
        return (net(test_x).argmax(1) == test_y).float().mean().item()


teacher = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 5))
opt = torch.optim.Adam(teacher.parameters(), lr=0.01)
for _ in range(5):
    for x, y in train_dl:
        opt.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        opt.step()
print("teacher", round(accuracy(teacher), 4))

student = nn.Linear(8, 5)
opt = torch.optim.Adam(student.parameters(), lr=0.02)
train_set = TensorDataset(*train_set.tensors, fetch_teacher_outputs(teacher, train_dl))
train_dl = DataLoader(train_set, batch_size=50, shuffle=True)
T = 2.0
for epoch in range(5):
    student.train()
    for x, y, logits in train_dl:
        soft = F.softmax(logits / T, dim=1)
        out = student(x)
        kd = F.kl_div(F.log_softmax(out / T, dim=1), soft, reduction="batchmean") * T * T
        loss = 0.9 * kd + 0.1 * F.cross_entropy(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"student {epoch} loss {loss.item():.4f} acc {accuracy(student):.4f}")
