"""Train a digit classifier with gradient accumulation on small micro-batches.

Source: huggingface/transformers#34191
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--micro-batch", type=int, default=16)
parser.add_argument("--accumulate", type=int, default=4)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=3e-3)
args = parser.parse_args()

torch.manual_seed(0)
digits = load_digits()
x_train, x_test, y_train, y_test = train_test_split(
    digits.data / 16.0, digits.target, test_size=0.25, random_state=0, stratify=digits.target
)
train_set = TensorDataset(torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train))
test_set = TensorDataset(torch.tensor(x_test, dtype=torch.float32), torch.tensor(y_test))
train_loader = DataLoader(train_set, batch_size=args.micro_batch, shuffle=True)
test_loader = DataLoader(test_set, batch_size=128)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)

n_batches = len(train_loader)
leftover = n_batches % args.accumulate
for epoch in range(args.epochs):
    model.train()
    optimizer.zero_grad()
    running, seen = 0.0, 0
    for i, (x, y) in enumerate(train_loader):
        # the last window may be shorter than the others
        window = leftover if leftover and i >= n_batches - leftover else args.accumulate
        loss = F.cross_entropy(model(x), y)
        (loss / window).backward()
        running += loss.item() * len(y)
        seen += len(y)
        if (i + 1) % args.accumulate == 0 or i + 1 == n_batches:
            optimizer.step()
            optimizer.zero_grad()

    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch}  train loss {running / seen:.4f}  test acc {correct / len(test_set):.4f}")
