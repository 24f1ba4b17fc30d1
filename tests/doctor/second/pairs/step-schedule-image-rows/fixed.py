"""Row-wise GRU over digit images with a step schedule.

Source: leftthomas/SRGAN#94
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
d = load_digits()
data = TensorDataset(torch.tensor(d.images, dtype=torch.float32) / 16, torch.tensor(d.target))
train_set, test_set = random_split(data, [1400, 397])
train_loader = DataLoader(train_set, batch_size=70, shuffle=True)
test_loader = DataLoader(test_set, batch_size=200)


class RowRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 32, batch_first=True)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.rnn(x)[0][:, -1])


model = RowRNN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = StepLR(optimizer, step_size=2, gamma=0.1)  # a tenth every two epochs

for epoch in range(4):
    model.train()
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        acc = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader) / 397
    print(f"epoch {epoch} lr {scheduler.get_last_lr()[0]:.1e} loss {loss.item():.4f} acc {acc:.4f}")
