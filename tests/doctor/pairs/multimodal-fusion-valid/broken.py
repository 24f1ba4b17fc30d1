"""Late fusion of two modalities, with a validation function next to the training loop.

Source: pliang279/MultiBench#26
"""

import torch
from torch import nn

torch.manual_seed(4)


class Fusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = nn.Sequential(nn.Linear(20, 24), nn.BatchNorm1d(24), nn.ReLU())
        self.audio = nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(48, 3))

    def forward(self, text, audio):
        return self.head(torch.cat([self.text(text), self.audio(audio)], dim=1))


A, B = torch.randn(3, 20), torch.randn(3, 12)


def clips(n):
    label = torch.randint(0, 3, (n,))
    return 0.5 * A[label] + torch.randn(n, 20), 0.5 * B[label] + torch.randn(n, 12), label


def batches(data, size, shuffle):
    n = len(data[0])
    order = torch.randperm(n) if shuffle else torch.arange(n)
    for idx in order.split(size):
        yield [d[idx] for d in data]


def validate(model, data):
    model.train()  # expect: evaluated-in-training-mode
    total, correct = 0.0, 0
    with torch.no_grad():
        for text, audio, label in batches(data, 40, shuffle=False):
            out = model(text, audio)  # expect: evaluated-in-training-mode
            total += criterion(out, label).item() * len(label)
            correct += (out.argmax(1) == label).sum().item()
    return total / len(data[0]), correct / len(data[0])


model = Fusion()
criterion = nn.CrossEntropyLoss()
op = torch.optim.RMSprop(model.parameters(), lr=3e-3)
train_data, valid_data = clips(480), clips(200)
best_val, best_epoch = 10000.0, None

for epoch in range(5):
    model.train()
    for text, audio, label in batches(train_data, 48, shuffle=True):
        op.zero_grad()
        loss = criterion(model(text, audio), label)
        loss.backward()
        op.step()
    val_loss, val_acc = validate(model, valid_data)
    if val_loss < best_val:
        best_val, best_epoch = val_loss, epoch
    print(f"Epoch {epoch} valid loss: {val_loss:.4f} acc: {val_acc:.3f}")
print("best epoch", best_epoch)
