"""Linear regression with SGD: how diabetes goes on within a year, from ten measurements."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes

import truestep as ts

data, progression = load_diabetes(return_X_y=True)
inputs = torch.tensor(data, dtype=torch.float32)
targets = torch.tensor(progression, dtype=torch.float32)
inputs = (inputs - inputs[:350].mean(0)) / inputs[:350].std(0)  # scaled by what training rows say
mean, std = targets[:350].mean(), targets[:350].std()
train = ts.Batches((inputs[:350], (targets[:350] - mean) / std), batch_size=32, shuffle=True)

torch.manual_seed(0)
model = torch.nn.Linear(10, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(40):
    epoch_loss = ts.RunningMean()
    for batch_inputs, batch_targets in train.epoch(epoch):
        optimizer.zero_grad()
        loss = F.mse_loss(model(batch_inputs).squeeze(1), batch_targets)
        loss.backward()
        optimizer.step()
        epoch_loss.add(loss, weight=len(batch_targets))
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: loss {epoch_loss.compute():.4f}")

model.eval()
with torch.no_grad():
    values = model(inputs[350:]).squeeze(1) * std + mean
print(f"rmse {ts.metrics.rmse(values, targets[350:]):.2f}")
print(f"r2 {ts.metrics.r2(values, targets[350:]):.4f}")
