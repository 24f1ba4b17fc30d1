"""Fine-tune with frozen batch norm: train mode for the net, eval mode and no gradients for its BN layers.

Source: jfzhang95/pytorch-deeplab-xception#140
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, classes))
        self.freeze_bn = False

    def forward(self, x):
        return self.head(self.backbone(x))

    def train(self, mode=True):
        super().train(mode)
        if self.freeze_bn:
            for m in self.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.eval()
                    m.weight.requires_grad = False
                    m.bias.requires_grad = False
        return self


def run(net, train_set, test, epochs, lr, batch_size):
    params = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=lr, momentum=0.9)
    loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
    for epoch in range(epochs):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            acc = (net(test[0]).argmax(1) == test[1]).float().mean().item()
        print(f"  epoch {epoch} loss {loss.item():.4f} acc {acc:.4f}")


torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
p = torch.randperm(len(y))
x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)[p], torch.tensor(y)[p]
print("pretraining, odd or even")
first = Net(2)
run(first, TensorDataset(x[:800], y[:800] % 2), (x[800:1000], y[800:1000] % 2), 2, 0.05, 50)

print("fine-tuning with small batches, ten classes")
net = Net(10)
net.backbone.load_state_dict(first.backbone.state_dict())
net.freeze_bn = True
net.train()  # so that the BN parameters are left out of the optimizer
run(net, TensorDataset(x[1000:1400], y[1000:1400]), (x[1400:], y[1400:]), 3, 0.01, 8)
