"""Iris with logits and CrossEntropyLoss; softmax only where probabilities are printed, argmax where they are counted.

Source: pytorch discuss: do I need softmax with CrossEntropyLoss
"""

# %%
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_iris
from torch.utils.data import DataLoader, TensorDataset

# %%
torch.manual_seed(0)
iris = load_iris()
perm = torch.randperm(150)
X = torch.tensor(iris.data, dtype=torch.float32)[perm]
y = torch.tensor(iris.target)[perm]
X = (X - X[:120].mean(0)) / X[:120].std(0)
trainloader = DataLoader(TensorDataset(X[:120], y[:120]), batch_size=20, shuffle=True)

# %%
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

# %%
for epoch in range(5):
    model.train()
    running, hits = 0.0, 0
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(labels)
        # confidence on the training batches, for the log only
        probs = F.softmax(outputs.detach(), dim=1)
        hits += (probs.argmax(1) == labels).sum().item()
    print(
        f"epoch {epoch}: loss {running / 120:.4f} train acc {hits / 120:.3f} mean confidence {probs.max(1).values.mean():.3f}"
    )

# %%
model.eval()
with torch.no_grad():
    probs = F.softmax(model(X[120:]), dim=1)
for row, label in list(zip(probs, y[120:]))[:3]:
    print([round(v, 3) for v in row.tolist()], iris.target_names[label])
print("test acc", (probs.argmax(1) == y[120:]).float().mean().item())
