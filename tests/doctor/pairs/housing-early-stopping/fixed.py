"""Boston-like housing regression with early stopping and a plateau schedule.

Source: RMeli/gnina-torch#57
"""

import torch
from torch import nn, optim
from torch.optim.lr_scheduler import ReduceLROnPlateau

torch.manual_seed(5)
x = torch.randn(500, 6)
y = x[:, :1] ** 2 - x[:, 1:2] * x[:, 2:3] + 0.5 * x[:, 3:4] + 0.1 * torch.randn(500, 1)
y = (y - y[:400].mean()) / y[:400].std()


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))

    def forward(self, x):
        return self.layers(x)


net = Regressor()
optimizer = optim.Adam(net.parameters(), lr=5e-3)
scheduler = ReduceLROnPlateau(optimizer, "min", patience=2)
mse = nn.MSELoss()
best, wait, epoch = float("inf"), 0, 0

while wait < 6 and epoch < 20:
    net.train()
    for idx in torch.randperm(400).split(40):
        optimizer.zero_grad()
        mse(net(x[idx]), y[idx]).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        valid_loss = mse(net(x[400:]), y[400:]).item()
    scheduler.step(valid_loss)
    best, wait = (valid_loss, 0) if valid_loss < best else (best, wait + 1)
    epoch += 1
    if epoch % 5 == 0:
        print(f"epoch {epoch}: valid {valid_loss:.4f} best {best:.4f} lr {optimizer.param_groups[0]['lr']:.1e}")
print("best valid loss", round(best, 4))
