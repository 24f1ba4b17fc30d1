"""In an Accelerate loop: running means and metrics of truestep. Needs `pip install accelerate`."""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import truestep as ts

set_seed(0)
accelerator = Accelerator(cpu=True)
pixels, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
train = DataLoader(Subset(data, range(1400)), batch_size=32, shuffle=True)
valid = DataLoader(Subset(data, range(1400, len(data))), batch_size=64)
model, optimizer, train, valid = accelerator.prepare(model, optimizer, train, valid)

for epoch in range(8):
    mean = ts.RunningMean()
    model.train()
    for inputs, targets in train:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        accelerator.backward(loss)
        optimizer.step()
        mean.add(loss, weight=len(targets))
    accelerator.print(f"epoch {epoch + 1}: loss {mean.compute():.4f}")

model.eval()
metrics = ts.metrics.MulticlassMetrics(num_classes=10)
with torch.no_grad():
    for inputs, targets in valid:
        # Where processes pad the last batch with rows seen before, this leaves them out again.
        outputs, targets = accelerator.gather_for_metrics((model(inputs), targets))  # noqa: PLW2901
        metrics.update(outputs.softmax(1), targets)
accelerator.print(f"accuracy {metrics.compute()['accuracy']:.4f}")
