"""A small convolutional network with Adam: handwritten digits of 8 x 8 pixels."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import truestep as ts

pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8)
targets = torch.tensor(labels)
train = ts.Batches((images[:1400], targets[:1400]), batch_size=32, shuffle=True)
test = (images[1400:], targets[1400:])
objective = ts.Multiclass(num_classes=10)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(8):
    mean = ts.RunningMean()
    model.train()
    for step in ts.train_steps(model, train.epoch(epoch), objective, optimizer):
        mean.add(step.loss, step.count)
    print(f"epoch {epoch + 1}: loss {mean.compute():.4f}")

figures = ts.evaluate(model, test, objective)
print(f"accuracy {figures['accuracy']:.4f}")
print(f"f1 {figures['f1']:.4f}")
