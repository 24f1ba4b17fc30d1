"""Distil a larger digits classifier into a small student.

Source: lightly-ai/lightly#1341
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

T = 3.0
ALPHA = 0.7


def make_net(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def distill_loss(student_logits, teacher_logits, labels):
    soft_teacher = F.softmax(teacher_logits / T, dim=-1)
    soft_student = F.softmax(student_logits / T, dim=-1)  # expect: probabilities-expected
    kd = F.kl_div(soft_student, soft_teacher, reduction="batchmean") * T * T  # expect: probabilities-expected
    hard = F.cross_entropy(student_logits, labels)
    return ALPHA * kd + (1 - ALPHA) * hard


@torch.no_grad()
def test(net, loader):
    net.eval()
    hit = tot = 0
    for x, y in loader:
        hit += (net(x).argmax(1) == y).sum().item()
        tot += y.numel()
    return hit / tot


def main():
    torch.manual_seed(0)
    d = load_digits()
    ds = TensorDataset(torch.tensor(d.data, dtype=torch.float32) / 16, torch.tensor(d.target))
    train_set, test_set = random_split(ds, [1300, 497])
    train = DataLoader(train_set, batch_size=65, shuffle=True)
    val = DataLoader(test_set, batch_size=497)

    teacher, student = make_net(96), make_net(12)
    opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(6):
        teacher.train()
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    print("teacher", round(test(teacher, val), 4))

    teacher.eval()
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    for epoch in range(6):
        student.train()
        for x, y in train:
            with torch.no_grad():
                t_out = teacher(x)
            loss = distill_loss(student(x), t_out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print("epoch", epoch, "last loss", round(loss.item(), 4), "student", round(test(student, val), 4))


if __name__ == "__main__":
    main()
