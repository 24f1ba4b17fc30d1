"""Imbalanced classes: a WeightedRandomSampler with one weight per example, evaluation by balanced accuracy.

Source: ufoym/imbalanced-dataset-sampler
"""

import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

torch.manual_seed(9)


def imbalanced(n):
    y = torch.multinomial(torch.tensor([0.86, 0.1, 0.04]), n, replacement=True)
    x = torch.randn(n, 5) + y.unsqueeze(1) * torch.tensor([1.0, -1.0, 0.5, 0.0, 1.2])
    return x, y


# rows sorted by class, as they come out of the folders
x, y = imbalanced(1200)
order = y.argsort(stable=True)
x, y = x[order], y[order]
x_test, y_test = imbalanced(800)

class_counts = torch.bincount(y)
class_weights = 1.0 / class_counts.float()
sample_weights = class_weights[y]
sampler = WeightedRandomSampler(sample_weights, num_samples=len(sample_weights), replacement=True)
train_loader = DataLoader(TensorDataset(x, y), batch_size=64, sampler=sampler)

net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
for epoch in range(4):
    net.train()
    seen = torch.zeros(3, dtype=torch.long)
    for xb, yb in train_loader:
        seen += torch.bincount(yb, minlength=3)
        loss = nn.functional.cross_entropy(net(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        predicted = net(x_test).argmax(1)
    print(
        f"epoch {epoch}: classes drawn {seen.tolist()} of {class_counts.tolist()}, balanced accuracy {balanced_accuracy_score(y_test, predicted):.3f}"
    )
