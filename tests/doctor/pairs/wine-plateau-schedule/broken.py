"""Wine classifier that lowers the learning rate when validation stops improving.

Source: md-mohaiminul/ViS4mer#4
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(2)
X, y = load_wine(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.4, stratify=y, random_state=3)
scaler = StandardScaler().fit(X_train)
X_train, X_val = (torch.tensor(scaler.transform(a), dtype=torch.float32) for a in (X_train, X_val))
y_train, y_val = torch.tensor(y_train), torch.tensor(y_val)

model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
scheduler = ReduceLROnPlateau(optimizer, factor=0.2, patience=1)  # expect: plateau-watching-the-wrong-direction
loader = DataLoader(TensorDataset(X_train, y_train), batch_size=16, shuffle=True)
criterion = nn.CrossEntropyLoss()

for epoch in range(12):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        criterion(model(xb), yb).backward()
        optimizer.step()

    model.eval()
    with torch.no_grad():
        out = model(X_val)
        val_loss = criterion(out, y_val).item()
        val_acc = (out.argmax(1) == y_val).float().mean().item()
    scheduler.step(val_acc)
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1} lr {optimizer.param_groups[0]['lr']:.1e} val loss {val_loss:.4f} acc {val_acc:.4f}")
