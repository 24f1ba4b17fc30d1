"""Linear probe: features of a frozen random encoder are computed once, then a linear layer is trained on them.

Source: facebookresearch/dino eval_linear.py
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@torch.no_grad()
def extract_features(encoder, loader):
    encoder.eval()
    feats, labels = [], []
    for x, y in loader:
        feats.append(encoder(x))
        labels.append(y)
    return torch.cat(feats), torch.cat(labels)


torch.manual_seed(6)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16.0, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
idx = torch.randperm(len(x))
train_set, test_set = TensorDataset(x[idx[:1300]], y[idx[:1300]]), TensorDataset(x[idx[1300:]], y[idx[1300:]])

encoder = nn.Sequential(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
encoder.requires_grad_(False)

# no shuffling needed here, the features are shuffled below
train_feats, train_labels = extract_features(encoder, DataLoader(train_set, batch_size=256))
test_feats, test_labels = extract_features(encoder, DataLoader(test_set, batch_size=256))
mean, std = train_feats.mean(0), train_feats.std(0) + 1e-6
train_feats, test_feats = (train_feats - mean) / std, (test_feats - mean) / std

linear = nn.Linear(train_feats.shape[1], 10)
linear.weight.data.normal_(mean=0.0, std=0.01)
linear.bias.data.zero_()
optimizer = torch.optim.SGD(linear.parameters(), lr=0.02, momentum=0.9)
for epoch in range(4):
    linear.train()
    for f, t in DataLoader(TensorDataset(train_feats, train_labels), batch_size=64, shuffle=True):
        loss = F.cross_entropy(linear(f), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    linear.eval()
    with torch.no_grad():
        acc = (linear(test_feats).argmax(1) == test_labels).float().mean().item()
    print(f"Epoch: [{epoch}] last loss {loss.item():.4f} * Acc@1 {100 * acc:.2f}")
