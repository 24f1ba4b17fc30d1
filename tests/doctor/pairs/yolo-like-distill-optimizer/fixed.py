"""Logit distillation with one optimizer builder for the models.

Source: huangzongmou/yolov8_Distillation#16
"""

import torch
import torch.nn.functional as F
from torch import nn, optim

torch.manual_seed(34)


def make_data(n):
    x = torch.randn(n, 12)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] * x[:, 2] > 0).long()
    return x, y


def mlp(width):
    return nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))


def build_optimizer(*models, lr):
    params = [p for m in models for p in m.parameters()]
    return optim.Adam(params, lr=lr)


def accuracy(model):
    model.eval()
    with torch.no_grad():
        return (model(x_test).argmax(1) == y_test).float().mean().item()


x, y = make_data(1200)
x_test, y_test = make_data(500)

teacher = mlp(64)
optimizer = build_optimizer(teacher, lr=3e-3)
for _ in range(10):
    teacher.train()
    for idx in torch.randperm(len(x)).split(60):
        optimizer.zero_grad()
        F.cross_entropy(teacher(x[idx]), y[idx]).backward()
        optimizer.step()
print(f"teacher {accuracy(teacher):.3f}")

T = 3.0
student = mlp(16)
teacher.eval()
optimizer = build_optimizer(student, lr=3e-3)
for epoch in range(6):
    student.train()
    for idx in torch.randperm(len(x)).split(60):
        with torch.no_grad():
            t_logits = teacher(x[idx])
        s_logits = student(x[idx])
        soft = F.kl_div(F.log_softmax(s_logits / T, 1), F.softmax(t_logits / T, 1), reduction="batchmean") * T * T
        loss = 0.2 * F.cross_entropy(s_logits, y[idx]) + 0.8 * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: student {accuracy(student):.3f} teacher {accuracy(teacher):.3f}")
