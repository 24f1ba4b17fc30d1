"""Trains a classifier on the wine data and goes back to the best validation epoch in the end.

Source: pytorch/tutorials#188
"""

import copy

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

X, y = load_wine(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.75, random_state=0, stratify=y)
m, s = X_train.mean(0), X_train.std(0)
datasets = {
    "train": TensorDataset(torch.tensor((X_train - m) / s).float(), torch.tensor(y_train)),
    "val": TensorDataset(torch.tensor((X_val - m) / s).float(), torch.tensor(y_val)),
}
dataloaders = {k: DataLoader(d, batch_size=16, shuffle=(k == "train")) for k, d in datasets.items()}


def train_model(model, criterion, optimizer, num_epochs=12):
    best_model_wts = model.state_dict()  # expect: best-weights-not-copied
    best_loss = float("inf")

    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            model.train(phase == "train")
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(outputs.argmax(1) == labels).item()
            epoch_loss = running_loss / len(datasets[phase])
            epoch_acc = running_corrects / len(datasets[phase])
            print("{} Loss: {:.4f} Acc: {:.4f}".format(phase, epoch_loss, epoch_acc))
            if phase == "val" and epoch_loss < best_loss:
                best_loss = epoch_loss
                best_model_wts = model.state_dict()  # expect: best-weights-not-copied
    print("Best val loss: {:.4f}".format(best_loss))
    model.load_state_dict(best_model_wts)
    return model


net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
net = train_model(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=3e-2))
net.eval()
with torch.no_grad():
    inputs, labels = datasets["val"].tensors
    print("val loss of the returned model: {:.4f}".format(nn.functional.cross_entropy(net(inputs), labels).item()))
