"""Siamese embedding of digits with a triplet loss; retrieval is measured on unseen digits."""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.optim import RMSprop
from torch.utils.data import DataLoader, Dataset

np.random.seed(5)
torch.manual_seed(5)

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images.astype(np.float32),
    digits.target,
    train_size=600,
    test_size=200,
    random_state=5,
    stratify=digits.target,
)


class TripletDigits(Dataset):
    def __init__(self, X, y):
        self.X = torch.from_numpy(X / 16.0).unsqueeze(1)
        self.y = torch.from_numpy(y)
        self.by_class = [np.flatnonzero(y == c) for c in range(10)]

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        label = int(self.y[i])
        positive = int(torch.randint(len(self.by_class[label]), (1,)))
        other = (label + int(torch.randint(1, 10, (1,)))) % 10
        negative = int(torch.randint(len(self.by_class[other]), (1,)))
        return self.X[i], self.X[self.by_class[label][positive]], self.X[self.by_class[other][negative]]


class EmbeddingNet(nn.Module):
    def __init__(self, dim=16):
        super(EmbeddingNet, self).__init__()
        self.convnet = nn.Sequential(nn.Conv2d(1, 8, 3), nn.PReLU(), nn.Conv2d(8, 16, 3), nn.PReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Linear(16 * 4, 32), nn.PReLU(), nn.Dropout(0.1), nn.Linear(32, dim))

    def forward(self, x):
        output = self.convnet(x)
        output = output.view(output.size(0), -1)
        return self.fc(output)


class SiameseNet(nn.Module):
    def __init__(self, embedding_net):
        super(SiameseNet, self).__init__()
        self.embedding_net = embedding_net

    def forward(self, anchor, positive, negative):
        a = self.embedding_net(anchor)
        p = self.embedding_net(positive)
        n = self.embedding_net(negative)
        return a, p, n


train_set = TripletDigits(X_train, y_train)
test_set = TripletDigits(X_test, y_test)
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)

net = SiameseNet(EmbeddingNet())
criterion = nn.TripletMarginLoss(margin=1.0)
optimizer = RMSprop(net.parameters(), lr=1e-3)


def recall_at_1():
    net.eval()
    with torch.no_grad():
        emb = net.embedding_net(test_set.X)
    dist = torch.cdist(emb, emb)
    dist.fill_diagonal_(float("inf"))
    nearest = dist.argmin(dim=1)
    return (test_set.y[nearest] == test_set.y).float().mean().item()


print("before training: recall@1 = %.4f" % recall_at_1())
for epoch in range(3):
    net.train()
    total_loss = 0.0
    for step, (anchor, positive, negative) in enumerate(train_loader):
        optimizer.zero_grad()
        a, p, n = net(anchor, positive, negative)
        loss = criterion(a, p, n)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(anchor)
    print("Epoch %d  loss %.5f  recall@1 %.4f" % (epoch + 1, total_loss / len(train_set), recall_at_1()))
