"""Overfit a few examples as a sanity check and evaluate on the same, then train properly with another val loader.

Source: karpathy.github.io A Recipe for Training Neural Networks
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def train(model, loader, epochs, lr=5e-3):
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
    return loss.item()


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


X, y = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).tolist()
train_set, val_set = Subset(data, order[:1400]), Subset(data, order[1400:])

few = Subset(train_set, range(32))
model = make()
final = train(model, DataLoader(few, batch_size=32, shuffle=True), epochs=40)
print(f"32 examples: loss {final:.4f}, accuracy on themselves {evaluate(model, DataLoader(few, batch_size=32)):.3f}")

model = make()
for round_ in range(3):
    final = train(model, DataLoader(train_set, batch_size=64, shuffle=True), epochs=1)
    print(f"epoch {round_}: loss {final:.4f}, val accuracy {evaluate(model, DataLoader(val_set, batch_size=128)):.4f}")
