"""Multimodal fusion of two views; training structure with a validation function.

Source: pliang279/MultiBench#26
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def views(n, seed):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(n, 10, generator=g), torch.randn(n, 6, generator=g)
    return TensorDataset(a, b, ((a[:, 0] * 1.5 + b[:, 0] * b[:, 1]) > 0).long())


class Fusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(10, 24), nn.Linear(6, 24)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, a, b):
        return self.head(torch.cat([self.a(a), self.b(b)], dim=1))


def process(model, batch):
    model.train()
    return model(*batch[:-1])  # expect: evaluated-in-training-mode


def train(model, train_dl, valid_dl, epochs):
    op = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        model.train()
        for batch in train_dl:
            op.zero_grad()
            loss = criterion(process(model, batch), batch[-1])
            loss.backward()
            op.step()
        model.eval()
        with torch.no_grad():
            loss, right = 0.0, 0
            for batch in valid_dl:
                out = process(model, batch)  # expect: evaluated-in-training-mode
                loss += criterion(out, batch[-1]).item() * len(out)
                right += (out.argmax(1) == batch[-1]).sum().item()
        n = len(valid_dl.dataset)
        print(f"Epoch {epoch} valid loss {loss / n:.4f} acc {right / n:.4f}")


train(Fusion(), DataLoader(views(480, 0), 40, shuffle=True), DataLoader(views(200, 1), 100), 5)
