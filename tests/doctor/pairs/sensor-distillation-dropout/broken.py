"""Distills an activity classifier of wearable sensors into a linear model.

Source: vrvlive/knowlege-distillation#2
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    seed: int = 0
    n: int = 900
    teacher_epochs: int = 8
    student_epochs: int = 6
    temperature: float = 2.0
    dropout: float = 0.5


class Teacher(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.conv = nn.Conv1d(3, 16, 5, padding=2)
        self.bn = nn.BatchNorm1d(16)
        self.fc = nn.Linear(16, 4)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        h = F.relu(self.bn(self.conv(x)))
        return self.fc(self.drop(h.amax(dim=2)))


def recordings(cfg):
    y = torch.randint(0, 4, (cfg.n,))
    t = torch.arange(20)
    freq = torch.tensor([0.3, 0.6, 0.9, 1.3])[y].view(-1, 1, 1)
    x = torch.sin(freq * t + 6.28 * torch.rand(cfg.n, 3, 1)) + 0.5 * torch.randn(cfg.n, 3, 20)
    return x, y


def epoch_batches(n, size=60):
    return torch.randperm(n).split(size)


def distill(teacher, student, x, cfg):
    optimizer = torch.optim.Adam(student.parameters(), lr=5e-3)
    T = cfg.temperature
    for epoch in range(cfg.student_epochs):
        student.train()
        total = 0.0
        for idx in epoch_batches(len(x)):
            with torch.no_grad():
                soft = F.softmax(teacher(x[idx]) / T, dim=1)  # expect: teacher-or-target-trained
            loss = -(soft * F.log_softmax(student(x[idx]) / T, dim=1)).sum(1).mean() * T * T
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        print(f"distill epoch {epoch} loss {total / len(x):.4f}")


def main(cfg):
    torch.manual_seed(cfg.seed)
    x, y = recordings(cfg)
    x, x_test, y, y_test = x[:700], x[700:], y[:700], y[700:]
    teacher = Teacher(cfg.dropout)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-2)
    teacher.train()
    for _ in range(cfg.teacher_epochs):
        for idx in epoch_batches(len(x)):
            optimizer.zero_grad()
            F.cross_entropy(teacher(x[idx]), y[idx]).backward()
            optimizer.step()
    student = nn.Sequential(nn.Conv1d(3, 6, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(6, 4))
    distill(teacher, student, x, cfg)
    student.eval()
    with torch.no_grad():
        print(f"student accuracy {(student(x_test).argmax(1) == y_test).float().mean().item():.3f}")


if __name__ == "__main__":
    main(Config())
