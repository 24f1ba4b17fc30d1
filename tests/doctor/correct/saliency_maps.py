"""Gradient saliency of a trained classifier: backward passes that no optimizer follows.

Source: utkuozbulak/pytorch-cnn-visualizations
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)
bunch = load_breast_cancer()
perm = torch.randperm(len(bunch.target))
x, y = torch.tensor(bunch.data, dtype=torch.float32)[perm], torch.tensor(bunch.target)[perm]
x = (x - x[:450].mean(0)) / x[:450].std(0)
loader = DataLoader(TensorDataset(x[:450], y[:450]), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 2))
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(3):
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()

model.eval()
with torch.no_grad():
    print("test accuracy", (model(x[450:]).argmax(1) == y[450:]).float().mean().item())

saliency = torch.zeros(30)
for i in range(450, 510):
    example = x[i : i + 1].clone().requires_grad_(True)
    score = model(example)
    model.zero_grad()
    score[0, score.argmax()].backward()
    saliency += example.grad[0].abs()
for i in saliency.topk(4).indices.tolist():
    print(f"{bunch.feature_names[i]:25s} {saliency[i].item() / 60:.4f}")

# integrated gradients of one example
baseline, example = torch.zeros(1, 30), x[450:451]
path = (baseline + torch.linspace(0, 1, 20).view(-1, 1) * (example - baseline)).requires_grad_()
model(path)[:, 1].sum().backward()
attribution = (example - baseline) * path.grad.mean(0)
print("sum of attributions", round(attribution.sum().item(), 4))
