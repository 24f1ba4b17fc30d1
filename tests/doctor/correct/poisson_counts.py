"""Count regression: PoissonNLLLoss on the log rate, rates by exp for the report.

Source: pytorch docs PoissonNLLLoss
"""

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.randn(800, 4)
rate = (0.5 * X[:, :1] - 0.4 * X[:, 1:2] * X[:, 2:3] + 0.7).exp()
counts = torch.poisson(rate)
train_dl = DataLoader(TensorDataset(X[:600], counts[:600]), batch_size=40, shuffle=True)
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
criterion = nn.PoissonNLLLoss(log_input=True, full=False)
optimizer = optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(6):
    model.train()
    for x, k in train_dl:
        optimizer.zero_grad()
        loss = criterion(model(x), k)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        log_rate = model(X[600:])
        error = (log_rate.exp() - rate[600:]).abs().mean()
    print(
        f"epoch {epoch}: nll {criterion(log_rate, counts[600:]).item():.4f} mean error of the rate {error.item():.4f}"
    )
