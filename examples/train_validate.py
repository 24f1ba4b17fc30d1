"""A function that trains, one that validates: clipped gradients, and figures weighted by examples."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch.nn.utils import clip_grad_norm_

import truestep as ts


def train(model, batches, optimizer, max_grad_norm=1.0):
    """Train for one epoch; return the mean loss over its examples."""
    mean = ts.RunningMean()
    model.train()
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        mean.add(loss, weight=len(targets))  # the last batch has fewer
    return mean.compute()


@torch.no_grad()
def validate(model, batches):
    """Return the mean loss and the metrics over all examples."""
    mean, metrics = ts.RunningMean(), ts.metrics.MulticlassMetrics(num_classes=3)
    model.eval()
    for inputs, targets in batches:
        outputs = model(inputs)
        mean.add(F.cross_entropy(outputs, targets), weight=len(targets))
        metrics.update(outputs.softmax(1), targets)
    return {"loss": mean.compute(), **metrics.compute()}


torch.manual_seed(0)
data, labels = load_wine(return_X_y=True)
order = torch.randperm(len(data))  # the file is sorted by class
inputs, targets = torch.tensor(data, dtype=torch.float32)[order], torch.tensor(labels)[order]
inputs = (inputs - inputs[:120].mean(0)) / inputs[:120].std(0)
training = ts.Batches((inputs[:120], targets[:120]), batch_size=16, shuffle=True)
validation = ts.Batches((inputs[120:], targets[120:]), batch_size=16)

model = torch.nn.Sequential(torch.nn.Linear(13, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
best = ts.Best("loss", patience=5)
for epoch in range(50):
    train_loss = train(model, training.epoch(epoch), optimizer)
    figures = validate(model, validation)
    print(f"epoch {epoch + 1}: train {train_loss:.4f}, valid {figures['loss']:.4f}")
    best.update(figures, epoch + 1, model)
    if best.exhausted:
        break
model.load_state_dict(best.weights)
figures = validate(model, validation)
print(f"valid_loss {figures['loss']:.4f}")
print(f"valid_accuracy {figures['accuracy']:.4f}")
