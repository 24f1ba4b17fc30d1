"""Mean teacher: few labels, a consistency loss against an EMA copy that also runs in train mode.

Source: CuriousAI/mean-teacher#9
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(50)


def create_model(ema=False):
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 10))
    if ema:
        for param in model.parameters():
            param.detach_()
    return model


def update_ema_variables(model, ema_model, alpha, global_step):
    # Use the true average until the exponential average is more correct
    alpha = min(1 - 1 / (global_step + 1), alpha)
    for ema_param, param in zip(ema_model.parameters(), model.parameters()):
        ema_param.data.mul_(alpha).add_(param.data, alpha=1 - alpha)


def validate(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(x))
labelled, unlabelled, test = perm[:150], perm[150:1300], perm[1300:]
model, ema_model = create_model(), create_model(ema=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
noise = lambda v: v + 0.1 * torch.randn_like(v)

global_step = 0
for epoch in range(6):
    model.train()
    ema_model.train()
    for rows in unlabelled[torch.randperm(len(unlabelled))].split(115):
        labelled_rows = labelled[torch.randint(len(labelled), (32,))]
        student_logits = model(noise(torch.cat([x[labelled_rows], x[rows]])))
        with torch.no_grad():
            teacher_logits = ema_model(noise(torch.cat([x[labelled_rows], x[rows]])))
        class_loss = F.cross_entropy(student_logits[:32], y[labelled_rows])
        consistency_loss = F.mse_loss(F.softmax(student_logits, dim=1), F.softmax(teacher_logits, dim=1))
        loss = class_loss + min(1.0, epoch / 3) * 10 * consistency_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        global_step += 1
        update_ema_variables(model, ema_model, 0.97, global_step)
    print(
        f"Epoch {epoch}: class {class_loss.item():.3f} cons {consistency_loss.item():.5f} student {validate(model, x[test], y[test]):.3f} teacher {validate(ema_model, x[test], y[test]):.3f}"
    )
