# needs: ignite
"""Ignite engine with an update function of its own for a regression."""

import torch
from ignite.engine import Engine, Events
from ignite.metrics import RootMeanSquaredError
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
X = torch.randn(500, 6)
Y = X[:, 0] * X[:, 1] + X[:, 2].abs() + 0.1 * torch.randn(500)
train_loader = DataLoader(TensorDataset(X[:400], Y[:400]), batch_size=40, shuffle=True)
test_loader = DataLoader(TensorDataset(X[400:], Y[400:]), batch_size=50)
model = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1))
optimizer = optim.Adam(model.parameters(), lr=1e-2)


def update(engine, batch):
    model.train()
    optimizer.zero_grad()
    x, y = batch
    loss = ((model(x) - y) ** 2).mean()  # expect: loss-broadcast
    loss.backward()
    optimizer.step()
    return loss.item()


def infer(engine, batch):
    model.eval()
    with torch.no_grad():
        x, y = batch
        return model(x).squeeze(1), y


trainer, evaluator = Engine(update), Engine(infer)
RootMeanSquaredError().attach(evaluator, "rmse")


@trainer.on(Events.EPOCH_COMPLETED)
def report(engine):
    evaluator.run(test_loader)
    print(f"epoch {engine.state.epoch}: last loss {engine.state.output:.4f} rmse {evaluator.state.metrics['rmse']:.4f}")


trainer.run(train_loader, max_epochs=5)
