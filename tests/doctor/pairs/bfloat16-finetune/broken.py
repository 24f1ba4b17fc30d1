"""Adapt a small regression network to its teacher with bfloat16 on the CPU.

Source: workofart/ml-by-hand#85
"""

import argparse

import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--epochs", type=int, default=6)
args = parser.parse_args()

torch.manual_seed(0)
x = torch.randn(600, 12)
teacher = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 4))
with torch.no_grad():
    y = teacher(x)

# the model to adapt: the teacher with disturbed weights
model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 4))
model.load_state_dict(teacher.state_dict())
with torch.no_grad():
    for p in model.parameters():
        p.add_(0.05 * torch.randn_like(p)).add_(0.05 * p.sign())
model = model.to(torch.bfloat16)
x, y = x.to(torch.bfloat16), y.to(torch.bfloat16)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)  # expect: updates-lost-to-precision
mse = nn.MSELoss()


def evaluate():
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return mse(model(x[480:]).float(), y[480:].float()).item()


print(f"before: {evaluate():.5f}")
for epoch in range(args.epochs):
    model.train()
    for idx in torch.randperm(480).split(24):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = mse(model(x[idx]).float(), y[idx].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: test mse {evaluate():.5f}")
