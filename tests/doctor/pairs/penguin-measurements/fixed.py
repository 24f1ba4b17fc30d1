"""Species from four body measurements (synthetic), plain NumPy batches.

Source: DrexelChatbotGroup/DrexelChatbot#15
"""

import numpy as np
import torch
import torch.nn as nn

np.random.seed(0)
torch.manual_seed(0)

centres = np.array([[39, 18, 190, 3.7], [49, 18, 196, 3.7], [47, 15, 217, 5.1]])
spread = np.array([2.6, 1.1, 6.5, 0.45])
labels = np.repeat([0, 1, 2], 110)
measures = centres[labels] + np.random.randn(330, 4) * spread

idx = np.random.permutation(330)
measures, labels = measures[idx], labels[idx]
x_train, y_train = measures[:260], labels[:260]
x_test, y_test = measures[260:], labels[260:]
mean, std = x_train.mean(axis=0), x_train.std(axis=0)
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std

net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

for epoch in range(10):
    order = np.random.permutation(len(x_train))
    x_train, y_train = x_train[order], y_train[order]
    net.train()
    for start in range(0, len(x_train), 20):
        xb = torch.tensor(x_train[start : start + 20], dtype=torch.float32)
        yb = torch.tensor(y_train[start : start + 20])
        optimizer.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        optimizer.step()

net.eval()
with torch.no_grad():
    pred = net(torch.tensor(x_test, dtype=torch.float32)).argmax(1).numpy()
print("last batch loss", round(loss.item(), 4), "test accuracy", (pred == y_test).mean())
