"""A mixture of two softmax heads: probabilities are blended, the log of the blend goes into NLLLoss.

Source: abisee/pointer-generator
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MixtureOfSoftmaxes(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.first, self.second, self.gate = nn.Linear(48, 10), nn.Linear(48, 10), nn.Linear(48, 1)

    def forward(self, x):
        h = self.body(x)
        g = torch.sigmoid(self.gate(h))
        return g * F.softmax(self.first(h), dim=-1) + (1 - g) * F.softmax(self.second(h), dim=-1)


torch.manual_seed(2)
x, y = load_digits(return_X_y=True)
p = torch.randperm(len(y))
x, y = torch.tensor(x / 16, dtype=torch.float32)[p], torch.tensor(y)[p]
loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=70, shuffle=True)
model, nll = MixtureOfSoftmaxes(), nn.NLLLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(4):
    model.train()
    for xb, yb in loader:
        probabilities = model(xb)
        loss = nll(torch.log(probabilities + 1e-10), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    print(f"epoch {epoch} nll {loss.item():.4f} acc {acc:.4f}")
