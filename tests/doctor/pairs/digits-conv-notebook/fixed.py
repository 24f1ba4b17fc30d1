# %%
"""Handwritten digits with a small ConvNet, exported from a notebook.

Source: sugi-chan/custom_bert_pipeline#1
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, random_split

torch.manual_seed(42)

# %%
digits = load_digits()
print(digits.images.shape)


class DigitsDataset(Dataset):
    def __init__(self, images, labels):
        self.images = (images / 16.0).astype(np.float32)
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        return torch.from_numpy(self.images[idx]).unsqueeze(0), int(self.labels[idx])


ds = DigitsDataset(digits.images, digits.target)
train_ds, val_ds = random_split(ds, [1000, 797])
train_dl = DataLoader(train_ds, batch_size=50, shuffle=True)
val_dl = DataLoader(val_ds, batch_size=200)

# %%
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(64, 10),
)
softmax = nn.Softmax(dim=1)
loss_fn = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)

# %%
history = []
for epoch in range(3):
    net.train()
    for xb, yb in train_dl:
        out = net(xb)
        loss = loss_fn(out, yb)
        opt.zero_grad()
        loss.backward()
        opt.step()

    net.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in val_dl:
            probs = softmax(net(xb))
            correct += (probs.argmax(1) == yb).sum().item()
    history.append(correct / len(val_ds))
    print("epoch", epoch, "val acc", history[-1])

# %%
print("best", max(history))
