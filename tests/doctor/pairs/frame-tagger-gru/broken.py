"""Tag every frame of a sensor sequence with one of eight activities (bidirectional GRU).

Source: facebookresearch/WMReward#11
"""

import torch
import torch.nn as nn

torch.manual_seed(0)
T = 8  # frames in a window
ACTIVITIES = 8
CHANNELS = 6

prototypes = torch.randn(ACTIVITIES, CHANNELS)


def windows(n):
    starts = torch.randint(ACTIVITIES, (n, 1))
    switch = torch.randint(2, T - 1, (n, 1))
    second = torch.randint(ACTIVITIES, (n, 1))
    labels = torch.where(torch.arange(T)[None, :] < switch, starts, second)
    return prototypes[labels] + 0.5 * torch.randn(n, T, CHANNELS), labels


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(CHANNELS, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, ACTIVITIES)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.fc(h)  # (batch, time, activity)


train_x, train_y = windows(480)
test_x, test_y = windows(120)
model = Tagger()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(5):
    model.train()
    for idx in torch.randperm(len(train_x)).split(40):
        optimizer.zero_grad()
        scores = model(train_x[idx])
        loss = criterion(scores, train_y[idx])  # expect: loss-over-wrong-dimension
        loss.backward()
        optimizer.step()

    model.eval()
    with torch.no_grad():
        acc = (model(test_x).argmax(dim=-1) == test_y).float().mean()
    print(f"epoch {epoch}: last loss {loss.item():.3f}, frame accuracy {acc:.3f}")
