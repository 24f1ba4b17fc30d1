"""The adding problem with a plain recurrent network on sequences of 60 steps.

Source: Marcovaldong/lstmp.pytorch#2
"""

import torch
import torch.nn as nn

torch.manual_seed(4)
STEPS, BATCH = 60, 32


def adding(n):
    values = torch.rand(n, STEPS)
    marks = torch.zeros(n, STEPS)
    for row in marks:
        row[torch.randperm(STEPS)[:2]] = 1.0
    return torch.stack([values, marks], dim=2), (values * marks).sum(1) - 1


class PlainRNN(nn.Module):
    """h' = relu(W x + U h), the recurrent weights start as a scaled identity."""

    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        self.fc = nn.Linear(hidden, 1)
        nn.init.eye_(self.rnn.weight_hh_l0)
        self.rnn.weight_hh_l0.data.mul_(1.03)

    def forward(self, x):
        return self.fc(self.rnn(x)[0][:, -1]).squeeze(1)


train_x, train_y = adding(640)
test_x, test_y = adding(100)
net = PlainRNN()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
mse = nn.MSELoss()

for epoch in range(4):
    net.train()
    total = 0.0
    for idx in torch.randperm(640).split(BATCH):
        optimizer.zero_grad()
        loss = mse(net(train_x[idx]), train_y[idx])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(idx)
    net.eval()
    with torch.no_grad():
        test = mse(net(test_x), test_y).item()
    print(f"epoch {epoch}: train mse {total / 640:.4f} test mse {test:.4f}")
