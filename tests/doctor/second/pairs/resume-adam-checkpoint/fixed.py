"""Training in two sittings: a checkpoint after epoch three, then resumed.

Source: CodefyUI#147
"""

import os
import tempfile

import torch
import torch.nn as nn

torch.manual_seed(0)
x = torch.randn(600, 8)
y = (x[:, :1] * x[:, 1:2] + x[:, 2:3]).tanh()
train, test = (x[:480], y[:480]), (x[480:], y[480:])


def build():
    model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    return model, optimizer, scheduler


def run(model, optimizer, scheduler, first, last):
    for epoch in range(first, last):
        for idx in torch.randperm(480).split(32):
            loss = nn.functional.mse_loss(model(train[0][idx]), train[1][idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        with torch.no_grad():
            t = nn.functional.mse_loss(model(test[0]), test[1]).item()
        print(f"epoch {epoch} train {loss.item():.5f} test {t:.5f} lr {scheduler.get_last_lr()[0]:.6f}")


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "ckpt.pt")
    model, optimizer, scheduler = build()
    run(model, optimizer, scheduler, 0, 4)
    torch.save(
        {
            "epoch": 4,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        },
        path,
    )

    # next day
    model, optimizer, scheduler = build()
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    run(model, optimizer, scheduler, checkpoint["epoch"], 8)
