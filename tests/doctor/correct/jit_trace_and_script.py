"""A scripted block inside a model; after training the model is traced for deployment and checked.

Source: pytorch docs TorchScript
"""

import io
import warnings

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", category=DeprecationWarning)


class Gate(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.a, self.b = nn.Linear(n, n), nn.Linear(n, n)

    def forward(self, x):
        return torch.tanh(self.a(x)) * torch.sigmoid(self.b(x))


torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
perm = torch.randperm(len(y))
X, y = torch.tensor(X, dtype=torch.float32)[perm], torch.tensor(y)[perm]
X = (X - X[:130].mean(0)) / X[:130].std(0)
model = nn.Sequential(nn.Linear(13, 16), torch.jit.script(Gate(16)), nn.Dropout(0.1), nn.Linear(16, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(6):
    model.train()
    for xb, yb in DataLoader(TensorDataset(X[:130], y[:130]), batch_size=26, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("loss", round(loss.item(), 4), "test accuracy", (model(X[130:]).argmax(1) == y[130:]).float().mean().item())

traced = torch.jit.trace(model, X[:1])
buffer = io.BytesIO()
torch.jit.save(traced, buffer)
buffer.seek(0)
loaded = torch.jit.load(buffer)
with torch.no_grad():
    print("same outputs after export:", torch.allclose(loaded(X[130:]), model(X[130:]), atol=1e-6))
