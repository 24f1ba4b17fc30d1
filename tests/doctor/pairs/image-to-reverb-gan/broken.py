"""Conditional GAN from pictures to spectrograms; both updates in training_step by optimizer index.

Source: nikhilsinghmus/image2reverb#37
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(27)

mix = torch.randn(8, 20) / 3


def rooms(n):
    features = torch.randn(n, 8)
    spec = torch.tanh(features @ mix) * torch.linspace(1.5, 0.1, 20) + 0.05 * torch.randn(n, 20)
    return features, spec


class Image2Reverb(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Sequential(nn.Linear(8 + 4, 48), nn.ReLU(), nn.Linear(48, 20))
        self.d = nn.Sequential(nn.Linear(20 + 8, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))

    def forward(self, f):
        return self.g(torch.cat([f, torch.randn(len(f), 4)], dim=1))

    def score(self, spec, f):
        return self.d(torch.cat([spec, f], dim=1))

    def training_step(self, batch, optimizer_idx):
        f, spec = batch
        fake_spec = self(f)
        if optimizer_idx == 0:  # generator
            d_fake = self.score(fake_spec.detach(), f)  # expect: generator-gets-no-gradient
            return F.mse_loss(d_fake, torch.ones_like(d_fake))
        d_fake, d_real = self.score(fake_spec.detach(), f), self.score(spec, f)
        return 0.5 * (F.mse_loss(d_real, torch.ones_like(d_real)) + F.mse_loss(d_fake, torch.zeros_like(d_fake)))


model = Image2Reverb()
optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.99)) for net in (model.g, model.d)]
val_f, val_spec = rooms(200)

for step in range(1, 121):
    model.train()
    batch = rooms(48)
    losses = []
    for idx, optimizer in enumerate(optimizers):
        loss = model.training_step(batch, idx)
        model.zero_grad()
        loss.backward()
        optimizer.step()  # may: step-without-gradients
        losses.append(loss.item())
    if step % 30 == 0:
        model.eval()
        with torch.no_grad():
            err = F.l1_loss(model(val_f), val_spec).item()
        print(f"step {step} G {losses[0]:.4f} D {losses[1]:.4f} | l1 to the measured response {err:.4f}")
