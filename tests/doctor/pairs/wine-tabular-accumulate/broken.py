"""Wine cultivars from chemical analysis, with gradient accumulation over three batches.

Source: timoschick/pet#36
"""

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
np.random.seed(0)

X, y = load_wine(return_X_y=True)
X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
scaler = StandardScaler().fit(X_tr)
X_tr = torch.from_numpy(scaler.transform(X_tr)).float()
X_te = torch.from_numpy(scaler.transform(X_te)).float()
y_tr, y_te = torch.from_numpy(y_tr), torch.from_numpy(y_te)

loader = DataLoader(TensorDataset(X_tr, y_tr), batch_size=12, shuffle=True, drop_last=True)  # 11 batches
model = torch.nn.Sequential(torch.nn.Linear(13, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3))
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = torch.nn.CrossEntropyLoss()

accum_iter = 3
n_batches = len(loader)
first_of_rest = n_batches - n_batches % accum_iter
updates = 0

for epoch in range(6):
    model.train()
    opt.zero_grad()
    for batch_idx, (inputs, labels) in enumerate(loader):
        # the rest at the end of the epoch is a smaller group
        group = accum_iter if batch_idx < first_of_rest else n_batches - first_of_rest
        loss = loss_fn(model(inputs), labels) / group
        loss.backward()
        if (batch_idx + 1) % accum_iter == 0:  # expect: accumulation-window-dropped
            opt.step()  # expect: accumulation-window-dropped
            opt.zero_grad()
            updates += 1

    model.eval()
    with torch.no_grad():
        logits = model(X_te)
    acc = (logits.argmax(1) == y_te).float().mean().item()
    print(f"epoch {epoch + 1:2d}  updates {updates:3d}  test loss {loss_fn(logits, y_te).item():.4f}  acc {acc:.3f}")
