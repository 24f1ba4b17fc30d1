"""Binary classifier that keeps the model with the best validation score.

Source: MedMNIST/experiments#8
"""

from copy import deepcopy

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X_tr, X_rest, y_tr, y_rest = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
X_va, X_te, y_va, y_te = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0, stratify=y_rest)
mean, std = X_tr.mean(0), X_tr.std(0)
pack = lambda X, y: TensorDataset(torch.tensor((X - mean) / std).float(), torch.tensor(y).float())
train_loader = DataLoader(pack(X_tr, y_tr), batch_size=16, shuffle=True)


def test(model, dataset):
    model.eval()
    x, t = dataset.tensors
    with torch.no_grad():
        score = model(x).squeeze(1)
    loss = nn.functional.binary_cross_entropy_with_logits(score, t).item()
    return loss, roc_auc_score(t.numpy(), score.numpy())


val_set, test_set = pack(X_va, y_va), pack(X_te, y_te)
model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
best_loss, best_epoch, best_model = float("inf"), 0, None
for epoch in range(10):
    model.train()
    for xb, tb in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(xb).squeeze(1), tb)
        loss.backward()
        optimizer.step()
    val_loss, val_auc = test(model, val_set)
    if val_loss < best_loss:
        best_loss, best_epoch = val_loss, epoch
        best_model = deepcopy(model.state_dict())
    print(f"{epoch} val loss {val_loss:.4f} auc {val_auc:.4f}")

model.load_state_dict(best_model)
print("best epoch", best_epoch, "val", round(test(model, val_set)[0], 5), "test", round(test(model, test_set)[0], 5))
