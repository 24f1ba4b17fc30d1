"""Fine-tune a small pretrained conv net with the whole network in eval mode, as some vision transformers recipes do.

Source: facebookresearch/deit#177
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(21)


def backbone():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.1),
    )  # fmt: skip


data, target = load_digits(return_X_y=True)
data, target = torch.tensor(data, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(target)
perm = torch.randperm(len(data))
data, target = data[perm], target[perm]
small = target < 5

# "pretraining" on the digits 0-4
pretrained = nn.Sequential(backbone(), nn.Linear(128, 5))
opt = torch.optim.Adam(pretrained.parameters(), lr=3e-3)
pretrained.train()
for epoch in range(2):
    for x, y in DataLoader(TensorDataset(data[small], target[small]), batch_size=64, shuffle=True, drop_last=True):
        opt.zero_grad()
        F.cross_entropy(pretrained(x), y).backward()
        opt.step()
weights = pretrained[0].state_dict()

# fine-tuning on 5-9 with a small learning rate; statistics and dropout stay as in inference
new_x, new_y = data[~small], target[~small] - 5
train_loader = DataLoader(TensorDataset(new_x[:600], new_y[:600]), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(new_x[600:], new_y[600:]), batch_size=128)
model = nn.Sequential(backbone(), nn.Linear(128, 5))
model[0].load_state_dict(weights)
model.eval()
optimizer = torch.optim.AdamW(
    [{"params": model[0].parameters(), "lr": 5e-4}, {"params": model[1].parameters(), "lr": 5e-3}], weight_decay=0.01
)
for epoch in range(3):
    total = 0.0
    for x, y in train_loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
    print(f"epoch {epoch}: loss {total / 600:.4f}, test accuracy {right / len(test_loader.dataset):.3f}")
