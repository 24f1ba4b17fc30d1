"""Low-rank adaptation: the pretrained linear layers are frozen, B starts at zero, only A and B are trained.

Source: microsoft/LoRA
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class LoRALinear(nn.Module):
    def __init__(self, linear, r=4, alpha=8):
        super().__init__()
        self.linear = linear
        self.linear.weight.requires_grad = False
        self.linear.bias.requires_grad = False
        self.lora_A = nn.Parameter(torch.zeros(r, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling = alpha / r

    def forward(self, x):
        return self.linear(x) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling


def add_lora(module):
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, LoRALinear(child))
        else:
            add_lora(child)


def fit(model, params, x, y, epochs, lr):
    optimizer = torch.optim.AdamW(params, lr=lr)
    model.train()
    for _ in range(epochs):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True):
            loss = F.mse_loss(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def rmse(model, x, y):
    model.eval()
    with torch.no_grad():
        return F.mse_loss(model(x), y).sqrt().item()


torch.manual_seed(0)
w1, w2 = torch.randn(8, 16), torch.randn(16, 1)
shift = torch.outer(torch.randn(8), torch.randn(16))
x = torch.randn(1100, 8)
source, target = (x @ w1 / 3).tanh() @ w2, (x @ (w1 + shift) / 3).tanh() @ w2

model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
fit(model, model.parameters(), x[:500], source[:500], epochs=15, lr=1e-2)
print("pretrained on the source task: rmse", round(rmse(model, x[500:600], source[500:600]), 4))
print("on the target task before     : rmse", round(rmse(model, x[1000:], target[1000:]), 4))

add_lora(model)
trainable = [p for p in model.parameters() if p.requires_grad]
print("trainable", sum(p.numel() for p in trainable), "of", sum(p.numel() for p in model.parameters()))
for round_ in range(3):
    fit(model, trainable, x[600:1000], target[600:1000], epochs=3, lr=1e-2)
    print(f"after round {round_}: rmse {rmse(model, x[1000:], target[1000:]):.4f}")
