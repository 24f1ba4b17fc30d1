"""Sentence classification with convolutions of several widths over word embeddings.

Source: pytorch/pytorch#1053
"""

import torch as th
import torch.nn.functional as F

th.manual_seed(1)

VOCAB, LENGTH, CLASSES = 40, 12, 3
PHRASES = th.tensor([[3, 7, 11], [20, 4, 9], [31, 30, 2]])


def sentences(n):
    x = th.randint(0, VOCAB, (n, LENGTH))
    y = th.randint(0, CLASSES, (n,))
    for i in range(n):
        k = th.randint(0, LENGTH - 3, (1,)).item()
        x[i, k : k + 3] = PHRASES[y[i]]
    return x, y


class Net(th.nn.Module):
    def __init__(self, dim=12, channels=8, widths=(2, 3, 4)):
        super(Net, self).__init__()
        self.word = th.nn.Embedding(VOCAB, dim)
        self.conv1d = [th.nn.Conv1d(dim, channels, w) for w in widths]  # expect: module-not-registered
        self.fc = th.nn.Linear(channels * len(widths), CLASSES)

    def forward(self, x):
        e = self.word(x).transpose(1, 2)
        pooled = [F.relu(conv(e)).max(dim=2)[0] for conv in self.conv1d]
        return self.fc(th.cat(pooled, dim=1))


x_train, y_train = sentences(600)
x_dev, y_dev = sentences(200)
net = Net()
opt = th.optim.Adam(net.parameters(), lr=5e-3)

for epoch in range(4):
    net.train()
    perm = th.randperm(600)
    for start in range(0, 600, 50):
        idx = perm[start : start + 50]
        opt.zero_grad()
        loss = F.cross_entropy(net(x_train[idx]), y_train[idx])
        loss.backward()
        opt.step()
    net.eval()
    with th.no_grad():
        dev = F.cross_entropy(net(x_dev), y_dev).item()
        acc = (net(x_dev).argmax(dim=1) == y_dev).float().mean().item()
    print(f"epoch {epoch}  dev loss {dev:.4f}  dev acc {acc:.3f}")
