# needs: ignite
"""Ignite trainer and evaluator for digits, with metrics attached and a scheduler per epoch."""

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
order = torch.randperm(len(y))
x, y = torch.tensor(x / 16, dtype=torch.float32)[order], torch.tensor(y)[order]
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=56, shuffle=True)
val_loader = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=128)

model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.7)
criterion = nn.CrossEntropyLoss()
trainer = create_supervised_trainer(model, optimizer, criterion)
evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "nll": Loss(criterion)})


@trainer.on(Events.EPOCH_COMPLETED)
def log_validation_results(engine):
    scheduler.step()
    evaluator.run(val_loader)
    metrics = evaluator.state.metrics
    print(f"Epoch[{engine.state.epoch}] Avg accuracy: {metrics['accuracy']:.4f} Avg loss: {metrics['nll']:.4f}")


trainer.run(train_loader, max_epochs=3)
