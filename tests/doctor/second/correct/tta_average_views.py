"""Test-time augmentation: predictions averaged over shifted copies of the test images.

Source: udacity/deep-learning-v2-pytorch#132
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
d = load_digits()
perm = torch.randperm(len(d.target))
images, labels = torch.tensor(d.images).float()[perm] / 16, torch.tensor(d.target)[perm]


class Shifted(Dataset):
    def __init__(self, lo, hi):
        self.x, self.y = images[lo:hi], labels[lo:hi]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i].roll(int(torch.randint(-1, 2, (1,))), 1).unsqueeze(0), self.y[i]


net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 10))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(3):
    net.train()
    for x, y in DataLoader(Shifted(0, 1400), batch_size=70, shuffle=True):
        loss = nn.functional.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, round(loss.item(), 4))
net.eval()
with torch.no_grad():
    x, y = images[1400:].unsqueeze(1), labels[1400:]
    plain = net(x).softmax(1)
    views = torch.stack([net(x.roll(s, 3)).softmax(1) for s in (-1, 0, 1)]).mean(0)
print("plain", (plain.argmax(1) == y).float().mean().item(), "averaged", (views.argmax(1) == y).float().mean().item())
