"""Average the last weights of a run and recompute the batch-norm statistics over the training data in train mode.

Source: izmailovpavel/contrib_swa_examples bn_update
"""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data(n, centers):
    label = torch.randint(0, len(centers), (n,))
    return TensorDataset(centers[label] + torch.randn(n, centers.size(1)) * 1.3, label)


def recalibrate(model, loader):
    """Cumulative averages over one pass without any gradient."""
    momenta = {}
    for m in model.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.reset_running_stats()
            momenta[m] = m.momentum
            m.momentum = None
    was_training = model.training
    model.train()
    with torch.no_grad():
        for x, _ in loader:
            model(x)
    for m, momentum in momenta.items():
        m.momentum = momentum
    model.train(was_training)


def evaluate(model, loader):
    model.eval()
    loss_sum = hits = n = 0
    with torch.no_grad():
        for x, y in loader:
            logits = model(x)
            loss_sum += nn.functional.cross_entropy(logits, y, reduction="sum").item()
            hits += (logits.argmax(1) == y).sum().item()
            n += len(y)
    return loss_sum / n, hits / n


torch.manual_seed(10)
centers = torch.randn(5, 16) * 1.2
train_loader = DataLoader(make_data(640, centers), batch_size=32, shuffle=True)
test_loader = DataLoader(make_data(300, centers), batch_size=100)
model = nn.Sequential(
    nn.Linear(16, 32, bias=False),
    nn.BatchNorm1d(32),
    nn.ReLU(),
    nn.Linear(32, 32, bias=False),
    nn.BatchNorm1d(32),
    nn.ReLU(),
    nn.Linear(32, 5),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
average, n_averaged = copy.deepcopy(model), 0

for epoch in range(8):
    model.train()
    for x, y in train_loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch >= 4:
        with torch.no_grad():
            for a, p in zip(average.parameters(), model.parameters()):
                a.mul_(n_averaged / (n_averaged + 1)).add_(p, alpha=1 / (n_averaged + 1))
        n_averaged += 1
        recalibrate(average, train_loader)
        print(f"epoch {epoch}: model {evaluate(model, test_loader)}, average {evaluate(average, test_loader)}")
    else:
        print(f"epoch {epoch}: model {evaluate(model, test_loader)}")
