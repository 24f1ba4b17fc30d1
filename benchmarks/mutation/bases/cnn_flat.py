"""Train a small convolutional network on pictures of four kinds of stripes."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

# --- data: 8-bit grey pictures, one kind of stripe after the other -------------
SIZE = 12
CLASSES = 4


def make_pictures(per_class):
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    rows = torch.arange(SIZE).float().view(1, SIZE, 1)
    cols = torch.arange(SIZE).float().view(1, 1, SIZE)
    phase = torch.rand(len(labels), 1, 1) * 6.28
    waves = torch.stack([rows + 0 * cols, cols + 0 * rows, rows + cols, rows - cols], dim=1)[0]
    pictures = torch.sin(waves[labels] + phase) * 60 + 128
    pictures = pictures + 40 * torch.randn_like(pictures)
    return pictures.clamp(0, 255).to(torch.uint8).unsqueeze(1), labels


train_images, train_labels = make_pictures(55)
test_images, test_labels = make_pictures(23)

train_x = train_images.float() / 255.0
test_x = test_images.float() / 255.0

train_loader = DataLoader(TensorDataset(train_x, train_labels), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(test_x, test_labels), batch_size=32)


# --- model ---------------------------------------------------------------------
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc1 = nn.Linear(16 * 3 * 3, 32)
        self.drop = nn.Dropout(0.25)
        self.fc2 = nn.Linear(32, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.drop(x)
        return self.fc2(x)


model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

# --- training ------------------------------------------------------------------
for epoch in range(4):
    model.train()
    running_loss = 0.0
    for images, labels in train_loader:
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * images.size(0)
    scheduler.step()

    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for images, labels in test_loader:
            outputs = model(images)
            test_loss += criterion(outputs, labels).item() * labels.size(0)
            correct += (outputs.argmax(dim=1) == labels).sum().item()
    print(
        f"epoch {epoch + 1}: train loss {running_loss / len(train_loader.dataset):.5f}, "
        f"test loss {test_loss / len(test_loader.dataset):.5f}, "
        f"accuracy {correct / len(test_loader.dataset):.4f}"
    )
