"""A binarised network with an autograd.Function of its own: sign forwards, clipped identity backwards.

Source: itayhubara/BinaryNet.pytorch
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.autograd import Function
from torch.utils.data import DataLoader, TensorDataset


class Binarize(Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return torch.where(input >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * (input.abs() <= 1).to(grad_output.dtype)


class BinaryLinear(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, Binarize.apply(self.weight), self.bias) / self.in_features**0.5


class BinaryNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(64, 96), nn.BatchNorm1d(96)
        self.fc2, self.bn2 = BinaryLinear(96, 96), nn.BatchNorm1d(96)
        self.fc3 = nn.Linear(96, 10)

    def forward(self, x):
        x = Binarize.apply(self.bn1(self.fc1(x)))
        x = Binarize.apply(self.bn2(self.fc2(x)))
        return self.fc3(x)


torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
perm = torch.randperm(len(y))
X, y = (torch.tensor(X, dtype=torch.float32)[perm] - 8) / 8, torch.tensor(y)[perm]
train_loader = DataLoader(TensorDataset(X[:1408], y[:1408]), batch_size=64, shuffle=True)
net = BinaryNet()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(4):
    net.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(xb), yb)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            net.fc2.weight.clamp_(-1, 1)
    net.eval()
    with torch.no_grad():
        print(epoch, round(loss.item(), 4), (net(X[1408:]).argmax(1) == y[1408:]).float().mean().item())
