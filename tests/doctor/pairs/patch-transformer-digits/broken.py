"""A tiny vision transformer: four patches of each digit through nn.TransformerEncoder.

Source: jsbaan/transformer-from-scratch#6
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def get_data():
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16.0 - 0.3
    y = torch.tensor(d.target)
    return TensorDataset(x[:1000], y[:1000]), TensorDataset(x[1400:], y[1400:])


class TinyViT(nn.Module):
    def __init__(self, dim=32, classes=10):
        super().__init__()
        self.patchify = nn.Conv2d(1, dim, kernel_size=4, stride=4)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(0.02 * torch.randn(1, 5, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, dim_feedforward=64, dropout=0.1)  # expect: examples-mixed-in-batch
        self.encoder = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.head = nn.Linear(dim, classes)

    def forward(self, img):
        tokens = self.patchify(img).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(img), -1, -1), tokens], dim=1) + self.pos
        tokens = self.encoder(tokens)  # expect: examples-mixed-in-batch
        return self.head(tokens[:, 0])


train_set, test_set = get_data()
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
test_loader = DataLoader(test_set, batch_size=100)
model = TinyViT()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
criterion = nn.CrossEntropyLoss()

for epoch in range(1, 5):
    model.train()
    for img, label in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(img), label)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for img, label in test_loader:
            right += (model(img).argmax(-1) == label).sum().item()
    print(f"epoch {epoch} last loss {loss.item():.3f} test acc {right / len(test_set):.3f}")
