"""Distil a wide teacher into a small student on handwritten digits."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(21)

images, labels = load_digits(return_X_y=True)
images = torch.tensor(images, dtype=torch.float32) / 16.0
labels = torch.tensor(labels)
perm = torch.randperm(len(images))
images, labels = images[perm], labels[perm]
n_train = 900

train_data = TensorDataset(images[:n_train], labels[:n_train])
test_data = TensorDataset(images[n_train:], labels[n_train:])
train_loader = DataLoader(train_data, batch_size=64, shuffle=True)
test_loader = DataLoader(test_data, batch_size=128, shuffle=False)


def make_teacher():
    return nn.Sequential(
        nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 10)
    )


def make_student():
    return nn.Sequential(nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10))


def accuracy(model):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in test_loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(test_data)


# 1. the teacher learns from the labels
teacher = make_teacher()
teacher_optimizer = torch.optim.Adam(teacher.parameters(), lr=5e-3)
for epoch in range(3):
    teacher.train()
    for x, y in train_loader:
        teacher_optimizer.zero_grad()
        loss = F.cross_entropy(teacher(x), y)
        loss.backward()
        teacher_optimizer.step()
print(f"teacher accuracy: {accuracy(teacher):.4f}")

# 2. the student learns from labels and teacher
student = make_student()
optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2], gamma=0.2)
temperature, alpha = 4.0, 0.7

teacher.eval()
for epoch in range(3):
    student.train()
    total = 0.0
    for x, y in train_loader:
        with torch.no_grad():
            teacher_logits = teacher(x)
        student_logits = student(x)
        soft_loss = F.kl_div(
            F.log_softmax(student_logits / temperature, dim=1),
            F.softmax(teacher_logits / temperature, dim=1),
            reduction="batchmean",
        )
        hard_loss = F.cross_entropy(student_logits, y)
        loss = alpha * temperature**2 * soft_loss + (1 - alpha) * hard_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    scheduler.step()
    print(
        f"epoch {epoch + 1}: distillation loss {total / len(train_data):.5f}, student accuracy {accuracy(student):.4f}"
    )
