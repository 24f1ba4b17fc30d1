"""Mixed precision with a GradScaler whose first scale overflows: the first steps are skipped by design.

Source: pytorch docs notes/amp_examples
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
perm = torch.randperm(len(y))
X, y = torch.tensor(X / 16, dtype=torch.float32)[perm], torch.tensor(y)[perm]
train_loader = DataLoader(TensorDataset(X[:1408], y[:1408]), batch_size=64, shuffle=True)
test_loader = DataLoader(TensorDataset(X[1408:], y[1408:]), batch_size=128)

net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()
scaler = GradScaler("cpu", init_scale=2.0**24, growth_interval=50)

for epoch in range(3):
    net.train()
    for input, target in train_loader:
        with autocast(device_type="cpu", dtype=torch.float16):
            output = net(input)
            loss = loss_fn(output.float(), target)
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
        scaler.step(opt)
        scaler.update()
    net.eval()
    correct = 0
    with torch.no_grad(), autocast(device_type="cpu", dtype=torch.float16):
        for input, target in test_loader:
            correct += (net(input).argmax(1) == target).sum().item()
    print(
        f"epoch {epoch} loss {loss.item():.4f} scale {scaler.get_scale():.0f} accuracy {correct / len(test_loader.dataset):.4f}"
    )
