"""Gradient accumulation: batches of 16, gradients of 64; and a check that these are what they are taken for."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer

import truestep as ts

data, labels = load_breast_cancer(return_X_y=True)
inputs, targets = torch.tensor(data), torch.tensor(labels).double()
inputs = (inputs - inputs[:450].mean(0)) / inputs[:450].std(0)
train = ts.Batches((inputs[:450], targets[:450]), batch_size=16, shuffle=True)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(30, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)).double()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
largest_gap = 0.0
for epoch in range(5):
    model.train()
    for batches, count in ts.accumulated(train.epoch(epoch), 4):  # the last of an epoch are one of 16 and one of 2
        # The gradient of one big batch, for comparison.
        whole_inputs, whole_targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
        whole_loss = F.binary_cross_entropy_with_logits(model(whole_inputs).squeeze(1), whole_targets)
        expected = torch.autograd.grad(whole_loss, list(model.parameters()))

        optimizer.zero_grad()
        for batch_inputs, batch_targets in batches:
            outputs = model(batch_inputs).squeeze(1)
            loss = F.binary_cross_entropy_with_logits(outputs, batch_targets, reduction="sum") / count
            loss.backward()
        for weight, gradient in zip(model.parameters(), expected, strict=True):
            largest_gap = max(largest_gap, (weight.grad - gradient).abs().max().item())
        optimizer.step()

print(f"gap {largest_gap:.1e}")
figures = ts.evaluate(model, (inputs[450:], targets[450:]), ts.Binary())
print(f"accuracy {figures['accuracy']:.4f}")
