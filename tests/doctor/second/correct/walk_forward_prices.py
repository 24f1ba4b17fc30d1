"""Walk-forward forecasts of a price series; the training windows keep their order.

Source: Netanelshoshan/freqAI-LSTM#15
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
price = torch.cumsum(0.05 + 0.3 * torch.randn(520), 0) + 50
ret = (price[1:] / price[:-1]).log() * 100
L = 10
X = ret.unfold(0, L, 1)[:-1]
y = ret[L:]


def fit(model, start, stop):
    # order matters for the online learner: oldest first, newest last
    loader = DataLoader(TensorDataset(X[start:stop], y[start:stop]), batch_size=20, shuffle=False)
    opt = torch.optim.SGD(model.parameters(), lr=0.02)
    model.train()
    for _ in range(2):
        for xb, yb in loader:
            opt.zero_grad()
            loss = nn.functional.l1_loss(model(xb).squeeze(1), yb)
            loss.backward()
            opt.step()
    return model


model = nn.Sequential(nn.Linear(L, 8), nn.Tanh(), nn.Linear(8, 1))
for fold in range(4):
    stop = 200 + 75 * fold
    fit(model, 0, stop)
    model.eval()
    with torch.no_grad():
        mae = (model(X[stop : stop + 75]).squeeze(1) - y[stop : stop + 75]).abs().mean()
    print(f"fold {fold}: trained on {stop} days, next 75 days mae {mae:.4f}")
