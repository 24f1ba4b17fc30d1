"""Wine classifier with numpy arrays shuffled before each epoch.

Source: DrexelChatbotGroup/DrexelChatbot#15
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

np.random.seed(1)
torch.manual_seed(1)
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=1)
mean, std = X_train.mean(axis=0), X_train.std(axis=0)
X_train, X_test = (X_train - mean) / std, (X_test - mean) / std

net = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
batch_size = 16

for epoch in range(10):
    np.random.shuffle(X_train)  # expect: inputs-and-targets-misaligned
    np.random.shuffle(y_train)  # expect: inputs-and-targets-misaligned
    total = 0.0
    for i in range(0, len(X_train), batch_size):
        xb = torch.from_numpy(X_train[i : i + batch_size]).float()
        yb = torch.from_numpy(y_train[i : i + batch_size])
        loss = nn.functional.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(yb)
    if epoch % 3 == 0:
        print(f"epoch {epoch} loss {total / len(X_train):.4f}")

net.eval()
with torch.no_grad():
    pred = net(torch.from_numpy(X_test).float()).argmax(1).numpy()
print("accuracy", round(float((pred == y_test).mean()), 4))
