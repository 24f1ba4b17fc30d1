"""Digits with a hand-made random split and subset samplers.

Source: HuCaoFighting/Swin-Unet#135
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

np.random.seed(0)
torch.manual_seed(0)

digits = load_digits()
dataset = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
num_train = len(dataset)
valid_size = 0.2
split = int(np.floor(valid_size * num_train))
indices = list(range(num_train))
np.random.shuffle(indices)
train_idx = indices[split:]
valid_idx = indices[:split]
train_loader = DataLoader(dataset, batch_size=64, sampler=SubsetRandomSampler(train_idx))
valid_sampler = SubsetRandomSampler(valid_idx)
valid_loader = DataLoader(dataset, batch_size=64, sampler=valid_sampler)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(1, 6):
    model.train()
    for data, target in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()
    model.eval()
    valid_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in valid_loader:
            output = model(data)
            valid_loss += criterion(output, target).item() * data.size(0)
            correct += output.argmax(1).eq(target).sum().item()
    print(f"Epoch {epoch} valid loss {valid_loss / len(valid_idx):.5f} acc {correct / len(valid_idx):.4f}")
