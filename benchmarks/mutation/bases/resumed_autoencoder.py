"""A denoising autoencoder whose training is interrupted and resumed from a checkpoint."""

import tempfile
from pathlib import Path

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset


class Curves(Dataset):
    """Sums of three waves on 32 points; `noisy=True` disturbs the inputs anew each time they are read."""

    def __init__(self, n, noisy, seed):
        g = torch.Generator().manual_seed(seed)
        t = torch.linspace(0, 1, 32)
        weights = torch.randn(n, 3, 1, generator=g)
        phases = torch.rand(n, 3, 1, generator=g)
        frequencies = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1)
        self.curves = (weights * torch.sin(6.28 * (frequencies * t + phases))).sum(dim=1)
        self.noisy = noisy

    def __len__(self):
        return self.curves.size(0)

    def __getitem__(self, idx):
        target = self.curves[idx]
        curve = target.clone()
        if self.noisy:
            curve += 0.2 * torch.randn(32)
        return curve, target


class AutoEncoder(nn.Module):
    def __init__(self, bottleneck=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, bottleneck))
        self.decoder = nn.Sequential(nn.Linear(bottleneck, 32), nn.ReLU(), nn.Linear(32, 32))

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code)


def build():
    model = AutoEncoder()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.6)
    return model, optimizer, scheduler


def train(model, optimizer, scheduler, epochs, first=0):
    loss_fn = nn.SmoothL1Loss()
    for epoch in range(first, first + epochs):
        model.train()
        total = 0.0
        for curve, target in train_loader:
            output = model(curve)
            loss = loss_fn(output, target)
            model.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * curve.shape[0]
        scheduler.step()

        model.eval()
        valid = 0.0
        with torch.no_grad():
            for curve, target in valid_loader:
                output = model(curve)
                valid += loss_fn(output, target).item() * curve.shape[0]
        print(f"epoch {epoch}: train {total / len(train_set):.6f} valid {valid / len(valid_set):.6f}")


torch.manual_seed(31)
train_set = Curves(300, noisy=True, seed=1)
valid_set = Curves(70, noisy=False, seed=2)
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
valid_loader = DataLoader(valid_set, batch_size=32)

with tempfile.TemporaryDirectory() as folder:
    checkpoint_path = Path(folder) / "checkpoint.pt"

    model, optimizer, scheduler = build()
    train(model, optimizer, scheduler, epochs=3)
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()},
        checkpoint_path,
    )

    # the next morning
    model, optimizer, scheduler = build()
    checkpoint = torch.load(checkpoint_path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    train(model, optimizer, scheduler, epochs=2, first=3)
