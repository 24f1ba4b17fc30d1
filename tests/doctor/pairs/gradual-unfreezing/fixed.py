"""Fine-tuning in two stages: first the new head on frozen features, then everything with a small step.

Source: CSCYQJ/MICCAI23-ProtoContra-SFDA#18
"""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(19)


def task(n, turn):
    x = torch.randn(n, 8)
    angle = torch.atan2(x[:, 0] + turn * x[:, 2], x[:, 1] - turn * x[:, 3])
    return x, ((angle + torch.pi) / (2 * torch.pi) * 4).long().clamp(max=3)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
        self.head = nn.Linear(40, 4)

    def forward(self, x):
        return self.head(self.body(x))


def train(model, data, epochs, lr):
    x, y = data
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for _ in range(epochs):
        for idx in torch.randperm(len(x)).split(50):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()


@torch.no_grad()
def accuracy(model, data):
    model.eval()
    return (model(data[0]).argmax(1) == data[1]).float().mean().item()


model = Classifier()
train(model, task(1000, 0.0), epochs=4, lr=5e-3)  # the "pretrained" weights

new_task, new_test = task(600, 0.8), task(400, 0.8)
model.head = nn.Linear(40, 4)
for p in model.body.parameters():
    p.requires_grad = False
train(model, new_task, epochs=4, lr=5e-3)
print(f"head only:   {accuracy(model, new_test):.3f}")

model.body.requires_grad_(True)
train(model, new_task, epochs=6, lr=2e-3)
print(f"whole model: {accuracy(model, new_test):.3f}")
