"""Regress standardised prices of synthetic houses with an MLP.

Source: jcjohnson/pytorch-examples#30
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
torch.manual_seed(0)

n = 700
area = rng.uniform(40, 220, n)
rooms = np.clip((area / 28 + rng.normal(0, 1, n)).round(), 1, 9)
age = rng.uniform(0, 90, n)
distance = rng.exponential(6, n)
price = 2.1 * area + 12 * rooms - 0.9 * age - 7 * distance + rng.normal(0, 18, n)

features = np.stack([area, rooms, age, distance], axis=1)
train_f, test_f = features[:560], features[560:]
train_p, test_p = price[:560], price[560:]

f_mean, f_std = train_f.mean(0), train_f.std(0)
p_mean, p_std = train_p.mean(), train_p.std()


def prepare(f, p):
    x = torch.tensor((f - f_mean) / f_std, dtype=torch.float32)
    y = torch.tensor((p - p_mean) / p_std, dtype=torch.float32).unsqueeze(1)
    return TensorDataset(x, y)


train_loader = DataLoader(prepare(train_f, train_p), batch_size=40, shuffle=True)
test_set = prepare(test_f, test_p)


class PriceNet(nn.Module):
    def __init__(self, sizes=(4, 32, 16, 1)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


model = PriceNet()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
mse = nn.MSELoss()

for epoch in range(10):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        mse(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        x, y = test_set.tensors
        rmse = mse(model(x), y).sqrt().item() * p_std
    print(f"epoch {epoch + 1:2d}: test RMSE {rmse:.2f}")
