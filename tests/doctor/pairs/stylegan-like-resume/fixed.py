"""Training that is interrupted and resumed from a checkpoint file.

Source: NVlabs/stylegan2-ada-pytorch#108
"""

import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F


def target(x):
    return torch.sin(3 * x[:, :1]) * x[:, 1:2]


def build():
    model = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    return model, torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.99))


def save(path, epoch, model, optimizer):
    torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)


def train(path, last_epoch, resume=False):
    g = torch.Generator().manual_seed(1)
    x = torch.rand(512, 2, generator=g) * 2 - 1
    x_val = torch.rand(256, 2, generator=g) * 2 - 1
    model, optimizer = build()
    start_epoch = 0
    if resume:
        ckpt = torch.load(path, weights_only=True)
        model.load_state_dict(ckpt["model"])
        optimizer.load_state_dict(ckpt["optimizer"])
        start_epoch = ckpt["epoch"]
        print(f"Resumed from epoch {start_epoch}")

    for epoch in range(start_epoch, last_epoch):
        model.train()
        for idx in torch.randperm(512, generator=g).split(32):
            loss = F.mse_loss(model(x[idx]), target(x[idx]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(x_val), target(x_val)).item()
        print(f"epoch {epoch + 1} val {val:.6f}")
        save(path, epoch + 1, model, optimizer)


torch.manual_seed(0)
with tempfile.TemporaryDirectory() as run_dir:
    path = os.path.join(run_dir, "network-snapshot.pt")
    train(path, last_epoch=5)
    # the job ended here; the next one goes on
    train(path, last_epoch=8, resume=True)
