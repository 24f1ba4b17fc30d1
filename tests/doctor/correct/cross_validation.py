"""Five-fold cross-validation: a fresh model, optimizer and scaler for each fold.

Source: pytorch discuss: k-fold cross validation with DataLoader
"""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def reset_model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 3))


X, y = load_wine(return_X_y=True)
scores = []
for fold, (train_ids, test_ids) in enumerate(StratifiedKFold(n_splits=5, shuffle=True, random_state=42).split(X, y)):
    scaler = StandardScaler().fit(X[train_ids])
    subset = lambda ids: TensorDataset(
        torch.tensor(scaler.transform(X[ids]), dtype=torch.float32), torch.tensor(y[ids])
    )
    trainloader = DataLoader(subset(train_ids), batch_size=20, shuffle=True)
    testloader = DataLoader(subset(test_ids), batch_size=36)
    network = reset_model(fold)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for epoch in range(5):
        network.train()
        for inputs, targets in trainloader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(inputs), targets)
            loss.backward()
            optimizer.step()
    network.eval()
    correct = total = 0
    with torch.no_grad():
        for inputs, targets in testloader:
            correct += (network(inputs).argmax(1) == targets).sum().item()
            total += targets.size(0)
    scores.append(100.0 * correct / total)
    print(f"Fold {fold}: {scores[-1]:.2f} %")
print(f"Average: {np.mean(scores):.2f} % +- {np.std(scores):.2f}")
