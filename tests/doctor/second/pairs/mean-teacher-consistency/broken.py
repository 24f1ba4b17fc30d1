"""Mean teacher: few labels, many unlabelled points, consistency between two copies.

Source: huangzongmou/yolov8_Distillation#16
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


def moons(n):
    t = torch.rand(n) * torch.pi
    k = torch.randint(0, 2, (n,))
    x = torch.where(k == 0, t.cos(), 1 - t.cos())
    y = torch.where(k == 0, t.sin(), 0.5 - t.sin())
    return torch.stack([x, y], 1) + 0.1 * torch.randn(n, 2), k


student = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
teacher = copy.deepcopy(student)
params = list(student.parameters()) + list(teacher.parameters())
optimizer = torch.optim.Adam(params, lr=5e-3)  # expect: teacher-or-target-trained
labelled_x, labelled_y = moons(20)
unlabelled, _ = moons(400)
test_x, test_y = moons(300)
for step in range(120):
    u = unlabelled[torch.randint(0, 400, (64,))]
    s = F.softmax(student(u + 0.1 * torch.randn_like(u)), 1)
    t = F.softmax(teacher(u + 0.1 * torch.randn_like(u)), 1)  # expect: teacher-or-target-trained
    loss = F.cross_entropy(student(labelled_x), labelled_y) + 2.0 * F.mse_loss(s, t)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for pt, ps in zip(teacher.parameters(), student.parameters()):
            pt.mul_(0.95).add_(ps, alpha=0.05)
    if step % 40 == 39:
        with torch.no_grad():
            acc = (teacher(test_x).argmax(1) == test_y).float().mean().item()
        print(f"step {step + 1} loss {loss.item():.4f} teacher accuracy {acc:.4f}")
