"""After each epoch measure accuracy on the training data too, in eval mode and with a loader of its own.

Source: Stanford CS231n style check_accuracy
"""

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
scaler = StandardScaler().fit(X_train)
make = lambda a, b: TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b))
train_data, val_data = make(X_train, y_train), make(X_val, y_val)

loader_train = DataLoader(train_data, batch_size=32, shuffle=True)
loader_train_eval = DataLoader(train_data, batch_size=128, shuffle=False)
loader_val = DataLoader(val_data, batch_size=128)

model = nn.Sequential(nn.Linear(30, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
optimizer = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, nesterov=True)


def check_accuracy(loader, model, name):
    num_correct = num_samples = 0
    model.eval()  # set model to evaluation mode
    with torch.no_grad():
        for x, t in loader:
            _, preds = model(x).max(1)
            num_correct += (preds == t).sum().item()
            num_samples += preds.size(0)
    print("  %s: got %d / %d correct (%.2f)" % (name, num_correct, num_samples, 100 * num_correct / num_samples))


for e in range(4):
    for t, (x, target) in enumerate(loader_train):
        model.train()  # put model to training mode
        loss = nn.functional.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if t % 10 == 0:
            print("Iteration %d, loss = %.4f" % (t, loss.item()))
    check_accuracy(loader_train_eval, model, "train")
    check_accuracy(loader_val, model, "val")
