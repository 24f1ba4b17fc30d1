"""Fine-tune a backbone that was pretrained on other digits and saved."""

import os
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(13)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
images = images / 16.0
labels = torch.tensor(digits.target)

low = labels < 5  # pretraining knows 0-4, the new task is 5-9
pretrain_x, pretrain_y = images[low], labels[low]
new_x, new_y = images[~low], labels[~low] - 5
permutation = torch.randperm(len(new_x))
new_x, new_y = new_x[permutation], new_y[permutation]
cut = 400


class ConvNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.backbone(x)
        return self.fc(self.dropout(x))


def fit(model, loader, optimizer, epochs):
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        model.train()
        epoch_loss, seen = 0.0, 0
        for inputs, targets in loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = loss_fn(outputs, targets)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * inputs.size(0)
            seen += inputs.size(0)
        print(f"  epoch {epoch}: loss {epoch_loss / seen:.5f}")


def score(model, loader):
    model.eval()
    correct, seen = 0, 0
    for inputs, targets in loader:
        with torch.no_grad():
            outputs = model(inputs)
        _, predicted = torch.max(outputs, 1)
        correct += (predicted == targets).sum().item()
        seen += targets.size(0)
    return correct / seen


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "backbone.pt")

    print("pretraining")
    pretrain_loader = DataLoader(TensorDataset(pretrain_x, pretrain_y), batch_size=64, shuffle=True)
    pretrained = ConvNet(num_classes=5)
    fit(pretrained, pretrain_loader, optim.Adam(pretrained.parameters(), lr=5e-3), epochs=2)
    torch.save(pretrained.backbone.state_dict(), path)

    model = ConvNet(num_classes=5)
    state = torch.load(path, weights_only=True)
    model.backbone.load_state_dict(state)

train_loader = DataLoader(TensorDataset(new_x[:cut], new_y[:cut]), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(new_x[cut:], new_y[cut:]), batch_size=100, shuffle=False)
optimizer = optim.AdamW(
    [
        {"params": model.backbone.parameters(), "lr": 5e-4},
        {"params": model.fc.parameters(), "lr": 5e-3},
    ],
    weight_decay=1e-4,
)
print("fine-tuning")
fit(model, train_loader, optimizer, epochs=3)
print(f"accuracy on unseen digits 5-9: {score(model, test_loader):.4f}")
