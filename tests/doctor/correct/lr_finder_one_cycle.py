"""A learning-rate range test up to divergence on a copy, then one-cycle training stepped per batch.

Source: davidtvs/pytorch-lr-finder
"""

import copy
import math

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
Xtr, Xva, ytr, yva = train_test_split(X / 16.0, y, test_size=360, random_state=3)
train_loader = DataLoader(TensorDataset(torch.tensor(Xtr).float(), torch.tensor(ytr)), batch_size=64, shuffle=True)
valid_loader = DataLoader(TensorDataset(torch.tensor(Xva).float(), torch.tensor(yva)), batch_size=120)
model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
criterion = nn.CrossEntropyLoss()


def find_lr(net, init_value=1e-4, final_value=10.0, beta=0.9):
    net = copy.deepcopy(net)
    optimizer = optim.SGD(net.parameters(), lr=init_value, momentum=0.9)
    mult = (final_value / init_value) ** (1 / 40)
    avg_loss, best_loss, lr, lrs, losses = 0.0, math.inf, init_value, [], []
    batch_num = 0
    while lr < final_value:
        for inputs, labels in train_loader:
            batch_num += 1
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            avg_loss = beta * avg_loss + (1 - beta) * loss.item()
            smoothed = avg_loss / (1 - beta**batch_num)
            if batch_num > 1 and smoothed > 4 * best_loss:
                return lrs, losses
            best_loss = min(smoothed, best_loss)
            losses.append(smoothed)
            lrs.append(lr)
            loss.backward()
            optimizer.step()
            lr *= mult
            optimizer.param_groups[0]["lr"] = lr
    return lrs, losses


lrs, losses = find_lr(model)
max_lr = lrs[losses.index(min(losses))] / 20
print(f"tried {len(lrs)} rates, lowest loss at {max_lr * 20:.3f}, chosen {max_lr:.3f}")

epochs = 4
optimizer = optim.SGD(model.parameters(), lr=max_lr, momentum=0.9)
scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr, epochs=epochs, steps_per_epoch=len(train_loader))
for epoch in range(epochs):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        criterion(model(xb), yb).backward()
        optimizer.step()
        scheduler.step()
    model.eval()
    with torch.no_grad():
        hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in valid_loader)
    print(f"epoch {epoch} lr {scheduler.get_last_lr()[0]:.5f} accuracy {hits / 360:.4f}")
