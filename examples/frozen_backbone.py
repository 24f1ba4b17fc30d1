"""Fine-tuning a frozen backbone: what was learnt from the digits 0 to 4 serves 5 to 9, with 20 labels of each."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import truestep as ts

pixels, labels = load_digits(return_X_y=True)
images, targets = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
low, high = targets < 5, targets >= 5
pretraining = ts.Batches((images[low], targets[low]), batch_size=32, shuffle=True)
images, targets = images[high], targets[high] - 5
train = ts.Batches((images[:100], targets[:100]), batch_size=20, shuffle=True)
test = (images[100:], targets[100:])
objective = ts.Multiclass(num_classes=5)

torch.manual_seed(0)
backbone = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
)
model = nn.Sequential(backbone, nn.Linear(512, 5))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for epoch in range(5):
    model.train()
    for _ in ts.train_steps(model, pretraining.epoch(epoch), objective, optimizer):
        pass

backbone.requires_grad_(False)
before = {name: value.clone() for name, value in backbone.state_dict().items()}
model[1] = nn.Linear(512, 5)  # a new head for new classes
optimizer = torch.optim.AdamW(model[1].parameters(), lr=3e-3)
for epoch in range(30):
    model.train()
    backbone.eval()  # or batch norm would go on counting, though no gradient moves it
    for _ in ts.train_steps(model, train.epoch(epoch), objective, optimizer):
        pass

unchanged = all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
print(f"backbone_unchanged {int(unchanged)}")
print(f"accuracy {ts.evaluate(model, test, objective)['accuracy']:.4f}")
