"""Click prediction: factorization machine plus a deep part over the field embeddings.

Source: rixwew/pytorch-fm#21
"""

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(31)

FIELDS = [8, 12, 5, 20]
offsets = torch.tensor([0, 8, 20, 25])


class DeepFM(nn.Module):
    def __init__(self, embed_dim=6, dropout=0.4):
        super().__init__()
        self.linear = nn.Embedding(sum(FIELDS), 1)
        self.embedding = nn.Embedding(sum(FIELDS), embed_dim)
        self.fc1 = nn.Linear(len(FIELDS) * embed_dim, 24)
        self.fc2 = nn.Linear(24, 1)
        self.dropout = dropout

    def forward(self, x):
        x = x + offsets
        e = self.embedding(x)
        fm = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        h = F.dropout(F.relu(self.fc1(e.flatten(1))), p=self.dropout)  # expect: randomness-left-on-in-evaluation
        return (self.linear(x).sum(1) + 0.1 * fm + self.fc2(h)).squeeze(1)


taste = torch.randn(sum(FIELDS), 3)


def log(n):
    x = torch.stack([torch.randint(0, f, (n,)) for f in FIELDS], dim=1)
    t = taste[x + offsets]
    score = (t[:, 0] * t[:, 1]).sum(1) + (t[:, 2] * t[:, 3]).sum(1)
    return x, (torch.rand(n) < torch.sigmoid(score)).float()


def test(model, data_loader):
    model.eval()
    targets, predicts = [], []
    with torch.no_grad():
        for fields, target in data_loader:
            targets.extend(target.tolist())
            predicts.extend(model(fields).tolist())
    return roc_auc_score(targets, predicts)


train_loader = DataLoader(TensorDataset(*log(1600)), batch_size=100, shuffle=True)
valid_loader = DataLoader(TensorDataset(*log(500)), batch_size=250)
model = DeepFM()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-6)
for epoch_i in range(4):
    model.train()
    for fields, target in train_loader:
        model.zero_grad()
        criterion(model(fields), target).backward()
        optimizer.step()
    print("epoch:", epoch_i, "validation: auc:", round(test(model, valid_loader), 4))
