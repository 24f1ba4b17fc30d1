"""Frame features by a small CNN, then a GRU over time, for moving dots.

Source: vitrioil/Speech-Separation#4
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
T, S = 5, 5


def clips(n):
    direction = torch.randint(0, 4, (n,))
    moves = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
    pos = torch.randint(0, S, (n, 2))
    video = torch.zeros(n, T, 1, S, S)
    for t in range(T):
        video[torch.arange(n), t, 0, pos[:, 0], pos[:, 1]] = 1.0
        pos = (pos + moves[direction]) % S
    return video + 0.1 * torch.randn_like(video), direction


class CNNGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Flatten(), nn.Linear(S * S, 48), nn.ReLU())
        self.gru = nn.GRU(48, 48)
        self.fc = nn.Linear(48, 4)

    def forward(self, video):
        b, t = video.shape[:2]
        f = self.cnn(video.flatten(0, 1))
        f = f.view(b, t, -1).transpose(0, 1)
        out, _ = self.gru(f)
        return self.fc(out[-1])


train_x, train_y = clips(640)
test_x, test_y = clips(160)
net = CNNGRU()
optimizer = torch.optim.Adam(net.parameters(), lr=8e-3)
for epoch in range(8):
    net.train()
    total = 0.0
    for idx in torch.randperm(640).split(32):
        loss = F.cross_entropy(net(train_x[idx]), train_y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    if epoch % 2:
        net.eval()
        with torch.no_grad():
            acc = torch.cat([net(x).argmax(1) for x in test_x.split(32)]).eq(test_y).float().mean().item()
        print(f"epoch {epoch} loss {total / 640:.4f} acc {acc:.4f}")
