"""Train a digit classifier, then measure its accuracy under FGSM; the attack needs input gradients in eval mode.

Source: pytorch/tutorials fgsm_tutorial
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(42)
x, y = load_digits(return_X_y=True)
p = torch.randperm(len(y))
x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)[p], torch.tensor(y)[p]
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=100)

model = nn.Sequential(
    nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.1), nn.Flatten(), nn.Linear(192, 10)
)
optimizer = optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(3):
    model.train()
    for data, target in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(data), target).backward()
        optimizer.step()


def fgsm_attack(image, epsilon, data_grad):
    return torch.clamp(image + epsilon * data_grad.sign(), 0, 1)


def test(model, epsilon):
    correct = 0
    model.eval()
    for data, target in test_loader:
        data.requires_grad = True
        loss = F.cross_entropy(model(data), target)
        model.zero_grad()
        loss.backward()
        perturbed_data = fgsm_attack(data.detach(), epsilon, data.grad)
        with torch.no_grad():
            correct += (model(perturbed_data).argmax(1) == target).sum().item()
    n = len(test_loader.dataset)
    print(f"Epsilon: {epsilon}\tTest Accuracy = {correct} / {n} = {correct / n:.4f}")


for eps in [0, 0.05, 0.1, 0.2]:
    test(model, eps)
