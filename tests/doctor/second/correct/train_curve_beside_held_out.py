"""Reports accuracy on the training data as well as on held-out data after each epoch.

Source: detecto#38
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.3, random_state=0)
scaler = StandardScaler()
Xa = torch.tensor(scaler.fit_transform(Xa), dtype=torch.float32)
Xb = torch.tensor(scaler.transform(Xb), dtype=torch.float32)
train_ds = TensorDataset(Xa, torch.tensor(ya).float())
test_ds = TensorDataset(Xb, torch.tensor(yb).float())
train_loader = DataLoader(train_ds, batch_size=32, shuffle=True)
train_eval_loader = DataLoader(train_ds, batch_size=256)
test_loader = DataLoader(test_ds, batch_size=256)
net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)


@torch.no_grad()
def check_accuracy(loader, model):
    model.eval()
    right = sum(((model(a).squeeze(1) > 0).float() == b).sum().item() for a, b in loader)
    return right / len(loader.dataset)


for epoch in range(4):
    net.train()
    for a, b in train_loader:
        loss = nn.functional.binary_cross_entropy_with_logits(net(a).squeeze(1), b)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"{epoch} train {check_accuracy(train_eval_loader, net):.4f} test {check_accuracy(test_loader, net):.4f}")
