"""Transformer over daily records of a patient, one label per patient.

Source: IBM/TabFormer#14
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def patients(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 14, 5, generator=g)
    y = (x[:, :, 0].mean(1) > 0.1 * x[:, :, 1].mean(1)).long()
    return TensorDataset(x, y)


class PatientModel(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.inp = nn.Linear(5, d)
        self.day = nn.Parameter(0.1 * torch.randn(14, d))
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(d, 2)

    def forward(self, x):
        h = self.inp(x) + self.day
        h = self.encoder(h)  # expect: examples-mixed-in-batch
        return self.out(h.mean(dim=1))


model = PatientModel()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
train_loader = DataLoader(patients(480, 0), batch_size=32, shuffle=True)
test_loader = DataLoader(patients(240, 1), batch_size=48)
for epoch in range(4):
    model.train()
    for x, y in train_loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
    print(f"epoch {epoch} loss {loss.item():.4f} test acc {correct / 240:.4f}")
