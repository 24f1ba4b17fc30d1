"""Feature distillation: the student's features go through an aligning layer before they are compared.

Source: huangzongmou/yolov8_Distillation#5
"""

import torch
from torch import nn, optim
import torch.nn.functional as F

torch.manual_seed(14)


def net(width):
    return nn.ModuleDict(
        {
            "body": nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            "head": nn.Linear(width, 3),
        }
    )


class FeatureLoss(nn.Module):
    """1x1 alignment from the student's to the teacher's width, then mean squared error."""

    def __init__(self, student_width, teacher_width):
        super().__init__()
        self.align = nn.Linear(student_width, teacher_width)

    def forward(self, student_feat, teacher_feat):
        return F.mse_loss(self.align(student_feat), teacher_feat)


def data(n):
    x = torch.randn(n, 10)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    return x, y


x, y = data(1000)
x_test, y_test = data(400)

teacher = net(48)
opt = optim.Adam(teacher.parameters(), lr=4e-3)
for _ in range(6):
    for idx in torch.randperm(1000).split(50):
        opt.zero_grad()
        F.cross_entropy(teacher["head"](teacher["body"](x[idx])), y[idx]).backward()
        opt.step()
teacher.eval().requires_grad_(False)

student = net(12)
feature_loss = FeatureLoss(12, 48)
optimizer = optim.Adam([*student.parameters(), *feature_loss.parameters()], lr=4e-3)

for epoch in range(5):
    student.train()
    feature_loss.train()
    sum_feat = 0.0
    for idx in torch.randperm(1000).split(50):
        with torch.no_grad():
            t_feat = teacher["body"](x[idx])
        s_feat = student["body"](x[idx])
        l_feat = feature_loss(s_feat, t_feat)
        loss = F.cross_entropy(student["head"](s_feat), y[idx]) + l_feat
        student.zero_grad()
        feature_loss.zero_grad()
        loss.backward()
        optimizer.step()
        sum_feat += l_feat.item() * len(idx)
    student.eval()
    with torch.no_grad():
        acc = (student["head"](student["body"](x_test)).argmax(1) == y_test).float().mean().item()
    print(f"epoch {epoch}: feature loss {sum_feat / 1000:.4f}, student accuracy {acc:.3f}")
