"""Train, save model, optimizer, scheduler and random state, and go on in new objects as if nothing had happened.

Source: ultralytics/yolov5#292
"""

import io

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build():
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    return model, optimizer, scheduler


def train(model, optimizer, scheduler, data, start, stop):
    train_set, (vx, vy) = data
    for epoch in range(start, stop):
        model.train()
        for x, y in DataLoader(train_set, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            print(
                f"epoch {epoch}: lr {scheduler.get_last_lr()[0]:.5f} valid {nn.functional.mse_loss(model(vx), vy).item():.6f}"
            )


torch.manual_seed(0)
x = torch.randn(420, 6)
y = (x[:, :1] * 2 - x[:, 1:2] ** 2 + x[:, 2:3]) / 2
data = TensorDataset(x[:320], y[:320]), (x[320:], y[320:])

model, optimizer, scheduler = build()
train(model, optimizer, scheduler, data, 0, 4)
file = io.BytesIO()
torch.save(
    {
        "epoch": 4,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
    },
    file,
)
print("-- interrupted --")
torch.manual_seed(99)
file.seek(0)
checkpoint = torch.load(file, weights_only=True)
model, optimizer, scheduler = build()
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
scheduler.load_state_dict(checkpoint["scheduler"])
torch.set_rng_state(checkpoint["rng"])
train(model, optimizer, scheduler, data, checkpoint["epoch"], 8)
