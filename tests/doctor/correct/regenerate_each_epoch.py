"""New synthetic training data at every epoch, a fixed validation set from another generator.

Source: locuslab/TCN adding problem
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def adding_problem(n, length, generator):
    values = torch.rand(n, length, generator=generator)
    marks = torch.zeros(n, length)
    half = length // 2
    rows = torch.arange(n)
    marks[rows, torch.randint(0, half, (n,), generator=generator)] = 1
    marks[rows, torch.randint(half, length, (n,), generator=generator)] = 1
    return torch.stack([values, marks], -1), (values * marks).sum(1, keepdim=True)


class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.fc = nn.GRU(2, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x):
        return self.fc(self.gru(x)[0][:, -1])


torch.manual_seed(0)
valid_x, valid_y = adding_problem(200, 10, torch.Generator().manual_seed(999))
model = Adder()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(6):
    data = TensorDataset(*adding_problem(400, 10, torch.Generator().manual_seed(epoch)))
    model.train()
    for x, y in DataLoader(data, batch_size=40, shuffle=True):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(f"epoch {epoch}: {loss.item():.4f} valid {nn.functional.mse_loss(model(valid_x), valid_y).item():.4f}")
