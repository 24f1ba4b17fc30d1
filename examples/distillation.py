"""Knowledge distillation: a small student learns from a teacher's probabilities, and from no label."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import truestep as ts

TEMPERATURE, LABELLED = 3.0, 100

pixels, labels = load_digits(return_X_y=True)
images, targets = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
train = ts.Batches((images[:1300], targets[:1300]), batch_size=32, shuffle=True)
few = ts.Batches((images[:LABELLED], targets[:LABELLED]), batch_size=32, shuffle=True)
test = (images[1300:], targets[1300:])
objective = ts.Multiclass(num_classes=10)


def network(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def trained(model, batches, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        model.train()
        for _ in ts.train_steps(model, batches.epoch(epoch), objective, optimizer):
            pass
    return model


torch.manual_seed(0)
teacher = trained(network(256), train, epochs=10).eval().requires_grad_(False)
alone = trained(network(16), few, epochs=60)  # a student without a teacher

student = network(16)
optimizer = torch.optim.AdamW(student.parameters(), lr=5e-3)
for epoch in range(20):
    student.train()
    for inputs, _ in train.epoch(epoch):  # nobody looks at these labels
        optimizer.zero_grad()
        softened = (teacher(inputs) / TEMPERATURE).softmax(1)
        loss = F.kl_div((student(inputs) / TEMPERATURE).log_softmax(1), softened, reduction="batchmean")
        loss = loss * TEMPERATURE**2  # gradients shrink by its square (Hinton et al. 2015)
        loss.backward()
        optimizer.step()

for name, model in {"teacher": teacher, "alone": alone, "student": student}.items():
    print(f"{name} {ts.evaluate(model, test, objective)['accuracy']:.4f}")
