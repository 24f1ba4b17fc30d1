"""Classify with label smoothing, once by hand with KL divergence and once by CrossEntropyLoss.

Source: harvardnlp/annotated-transformer LabelSmoothing
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


class LabelSmoothing(nn.Module):
    def __init__(self, classes, smoothing=0.1):
        super().__init__()
        self.criterion = nn.KLDivLoss(reduction="sum")
        self.smoothing, self.classes = smoothing, classes

    def forward(self, log_probs, target):
        true_dist = torch.full_like(log_probs, self.smoothing / self.classes).detach()
        true_dist.scatter_(1, target.unsqueeze(1), 1 - self.smoothing + self.smoothing / self.classes)
        return self.criterion(log_probs, true_dist) / len(target)


def run(by_hand):
    torch.manual_seed(8)
    features, target = load_wine(return_X_y=True)
    order = torch.randperm(len(target))
    train_rows, test_rows = order[:130], order[130:]
    scaler = StandardScaler().fit(features[train_rows])
    x = torch.from_numpy(scaler.transform(features)).float()
    y = torch.from_numpy(target)
    loader = DataLoader(TensorDataset(x[train_rows], y[train_rows]), batch_size=26, shuffle=True)

    net = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    criterion = LabelSmoothing(3) if by_hand else nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(6):
        net.train()
        for xb, yb in loader:
            out = net(xb)
            if by_hand:
                out = out.log_softmax(dim=1)
            loss = criterion(out, yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        acc = (net(x[test_rows]).argmax(1) == y[test_rows]).float().mean().item()
    print(f"{'by hand' if by_hand else 'built in'}: last loss {loss.item():.4f}, test accuracy {acc:.3f}")


run(by_hand=True)
run(by_hand=False)
