"""Classify digits; at test time average the predictions over small shifts of each image.

Source: qubvel/ttach
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(24)
        self.fc = nn.Linear(24 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(torch.flatten(x, 1))


def random_shift(x, r=1):
    dx, dy = torch.randint(-r, r + 1, (2,)).tolist()
    return torch.roll(F.pad(x, (r, r, r, r)), (dx, dy), (2, 3))[:, :, r:-r, r:-r]


torch.manual_seed(42)
images, labels = load_digits(return_X_y=True)
dataset = TensorDataset(torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels))
train_ds, test_ds = random_split(dataset, [1400, 397])
train_dl = DataLoader(train_ds, batch_size=64, shuffle=True, drop_last=True)
test_dl = DataLoader(test_ds, batch_size=64)

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
for epoch in range(2):
    model.train()
    for xb, yb in train_dl:
        optimizer.zero_grad()
        F.cross_entropy(model(random_shift(xb)), yb).backward()
        optimizer.step()

    model.eval()
    plain, averaged = 0, 0
    with torch.no_grad():
        for xb, yb in test_dl:
            plain += (model(xb).argmax(1) == yb).sum().item()
            views = [xb] + [random_shift(xb) for _ in range(6)]
            probs = torch.stack([F.softmax(model(v), dim=1) for v in views]).mean(0)
            averaged += (probs.argmax(1) == yb).sum().item()
    print(
        f"epoch {epoch + 1}: accuracy {plain / len(test_ds):.4f}, with augmentation at test time {averaged / len(test_ds):.4f}"
    )
