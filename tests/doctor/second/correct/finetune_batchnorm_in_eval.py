"""Fine-tuning with the batch norm layers kept in eval mode, small target data.

Source: facebookresearch/deit#177
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)


def task(n, shift, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 8, 8, generator=g)
    w = torch.linspace(-1, 1, 64).view(8, 8).roll(shift, 1)
    return TensorDataset(x, ((x[:, 0] * w).sum((1, 2)) > 0).long())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.classifier = nn.Linear(8 * 16, 2)

    def forward(self, x):
        return self.classifier(self.features(x))


def freeze_bn(model):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()


def train(model, data, epochs, lr, bn_frozen):
    opt = torch.optim.AdamW(model.parameters(), lr=lr)
    loader = DataLoader(data, batch_size=8 if bn_frozen else 32, shuffle=True)
    for epoch in range(epochs):
        model.train()
        if bn_frozen:
            freeze_bn(model)  # eight images are too few for good statistics
        total = 0.0
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        print(f"  epoch {epoch} {total / len(data):.4f}")


net = Net()
print("source task")
train(net, task(384, 0, 0), 3, 1e-2, bn_frozen=False)
print("target task")
train(net, task(40, 1, 1), 4, 1e-3, bn_frozen=True)
net.eval()
with torch.no_grad():
    x, y = task(200, 1, 2).tensors
    print("target accuracy", (net(x).argmax(1) == y).float().mean().item())
