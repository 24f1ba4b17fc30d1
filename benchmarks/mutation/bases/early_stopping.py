"""Breast cancer classifier with early stopping, plateau schedule and the best weights kept."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer

torch.manual_seed(6)

data = load_breast_cancer()
features = torch.tensor(data.data, dtype=torch.float32)
targets = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)

# 60 / 20 / 20
order = torch.randperm(len(features))
features, targets = features[order], targets[order]
n_train, n_valid = int(0.6 * len(features)), int(0.2 * len(features))
n_fit = n_train + n_valid
x_train, y_train = features[:n_train], targets[:n_train]
x_valid, y_valid = features[n_train:n_fit], targets[n_train:n_fit]
x_test, y_test = features[n_fit:], targets[n_fit:]

mean = x_train.mean(dim=0)
std = x_train.std(dim=0) + 1e-8
x_train = (x_train - mean) / std
x_valid = (x_valid - mean) / std
x_test = (x_test - mean) / std


class Classifier(nn.Module):
    def __init__(self, n_in, hidden=16):
        super().__init__()
        self.fc1 = nn.Linear(n_in, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(0.2)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x):
        h = F.relu(self.bn(self.fc1(x)))
        h = self.dropout(h)
        return torch.sigmoid(self.fc2(h))


net = Classifier(features.shape[1])
criterion = nn.BCELoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.3, patience=1)

batch_size = 32
patience, bad_epochs = 3, 0
best_accuracy, best_state = 0.0, None

for epoch in range(12):
    net.train()
    shuffled = torch.randperm(len(x_train))
    train_loss = 0.0
    for start in range(0, len(shuffled), batch_size):
        index = shuffled[start : start + batch_size]
        xb, yb = x_train[index], y_train[index]
        optimizer.zero_grad()
        prob = net(xb)
        loss = criterion(prob, yb)
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * len(index)

    net.eval()
    with torch.no_grad():
        valid_prob = net(x_valid)
        valid_loss = criterion(valid_prob, y_valid).item()
        valid_accuracy = ((valid_prob > 0.5).float() == y_valid).float().mean().item()
    scheduler.step(valid_accuracy)
    lr = optimizer.param_groups[0]["lr"]
    print(
        f"{epoch:2d} train {train_loss / len(x_train):.5f} valid {valid_loss:.5f} acc {valid_accuracy:.4f} lr {lr:.5f}"
    )

    if valid_accuracy > best_accuracy:
        best_accuracy, bad_epochs = valid_accuracy, 0
        best_state = copy.deepcopy(net.state_dict())
    else:
        bad_epochs += 1
        if bad_epochs >= patience:
            print("stopping early")
            break

net.load_state_dict(best_state)
net.eval()
with torch.no_grad():
    test_prob = net(x_test)
print(f"test loss {criterion(test_prob, y_test).item():.5f}, best valid accuracy {best_accuracy:.4f}")
