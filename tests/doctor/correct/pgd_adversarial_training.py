"""Adversarial training: the PGD examples are searched in eval mode, the weights are updated in train mode.

Source: yaodongyu/TRADES
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(128, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def trades_loss(model, x_natural, y, optimizer, step_size=0.03, epsilon=0.08, perturb_steps=3, beta=2.0):
    criterion_kl = nn.KLDivLoss(reduction="sum")
    model.eval()
    batch_size = len(x_natural)
    x_adv = x_natural.detach() + 0.001 * torch.randn(x_natural.shape)
    for _ in range(perturb_steps):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss_kl = criterion_kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x_natural), dim=1))
        grad = torch.autograd.grad(loss_kl, [x_adv])[0]
        x_adv = x_adv.detach() + step_size * torch.sign(grad.detach())
        x_adv = torch.min(torch.max(x_adv, x_natural - epsilon), x_natural + epsilon).clamp(0.0, 1.0)
    model.train()
    optimizer.zero_grad()
    logits = model(x_natural)
    loss_natural = F.cross_entropy(logits, y)
    loss_robust = criterion_kl(F.log_softmax(model(x_adv), dim=1), F.softmax(logits, dim=1)) / batch_size
    return loss_natural + beta * loss_robust


def evaluate(model, loader):
    model.eval()
    loss, correct = 0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            loss += F.cross_entropy(output, target, reduction="sum").item()
            correct += output.argmax(1).eq(target).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def main():
    torch.manual_seed(1)
    x, y = load_digits(return_X_y=True)
    p = torch.randperm(len(y))
    x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)[p], torch.tensor(y)[p]
    train_loader = DataLoader(TensorDataset(x[:1280], y[:1280]), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[1280:], y[1280:]), batch_size=128)
    model = SmallCNN()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, 4):
        for data, target in train_loader:
            loss = trades_loss(model, data, target, optimizer)
            loss.backward()
            optimizer.step()
        print("epoch %d: loss %.4f, test loss %.4f accuracy %.4f" % (epoch, loss.item(), *evaluate(model, test_loader)))


if __name__ == "__main__":
    main()
