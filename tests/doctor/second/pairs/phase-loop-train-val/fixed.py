"""Flower classifier on iris with one loop for both phases, as in the transfer tutorials.

Source: chrischoy/SpatioTemporalSegmentation#3
"""

import copy

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_iris(return_X_y=True)
X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.33, random_state=1, stratify=y)
mean, std = X_tr.mean(0), X_tr.std(0)
datasets = {
    "train": TensorDataset(torch.tensor((X_tr - mean) / std).float(), torch.tensor(y_tr)),
    "val": TensorDataset(torch.tensor((X_va - mean) / std).float(), torch.tensor(y_va)),
}
dataloaders = {k: DataLoader(d, batch_size=10, shuffle=k == "train") for k, d in datasets.items()}
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

best_acc, best_wts = 0.0, copy.deepcopy(model.state_dict())
for epoch in range(5):
    for phase in ["train", "val"]:
        if phase == "train":
            model.train()
        else:
            model.eval()
        running_loss, running_corrects = 0.0, 0
        for inputs, labels in dataloaders[phase]:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(inputs)
                loss = criterion(outputs, labels)
            if phase == "train":
                loss.backward()
                optimizer.step()
            running_loss += loss.item() * len(labels)
            running_corrects += (outputs.argmax(1) == labels).sum().item()
        n = len(datasets[phase])
        print(f"{epoch} {phase:5s} loss {running_loss / n:.4f} acc {running_corrects / n:.4f}")
        if phase == "val" and running_corrects / n > best_acc:
            best_acc, best_wts = running_corrects / n, copy.deepcopy(model.state_dict())
model.load_state_dict(best_wts)
print("best val acc", round(best_acc, 4))
