"""Denoising diffusion on a spiral: noise is both input and target, sampling is random in eval mode.

Source: tanelp/tiny-diffusion
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class NoiseScheduler:
    def __init__(self, steps=40):
        self.steps = steps
        self.betas = torch.linspace(1e-3, 0.15, steps)
        self.alphas = 1 - self.betas
        self.cumulative = self.alphas.cumprod(0)

    def add_noise(self, x, noise, t):
        a = self.cumulative[t].unsqueeze(1)
        return a.sqrt() * x + (1 - a).sqrt() * noise

    def step(self, predicted, t, x):
        mean = (x - self.betas[t] / (1 - self.cumulative[t]).sqrt() * predicted) / self.alphas[t].sqrt()
        return mean if t == 0 else mean + self.betas[t].sqrt() * torch.randn_like(x)


class MLP(nn.Module):
    def __init__(self, steps, width=64):
        super().__init__()
        self.time = nn.Embedding(steps, 16)
        self.net = nn.Sequential(
            nn.Linear(18, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2)
        )

    def forward(self, x, t):
        return self.net(torch.cat([x, self.time(t)], 1))


torch.manual_seed(0)
angle = torch.rand(1000) * 9
spiral = torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / 5 + 0.03 * torch.randn(1000, 2)
loader = DataLoader(TensorDataset(spiral), batch_size=50, shuffle=True)
scheduler = NoiseScheduler()
model = MLP(scheduler.steps)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(6):
    model.train()
    total = 0.0
    for (x,) in loader:
        noise, t = torch.randn_like(x), torch.randint(0, scheduler.steps, (len(x),))
        loss = nn.functional.mse_loss(model(scheduler.add_noise(x, noise, t), t), noise)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(x)
    model.eval()
    with torch.no_grad():
        sample = torch.randn(200, 2)
        for t in reversed(range(scheduler.steps)):
            sample = scheduler.step(model(sample, torch.full((200,), t)), t, sample)
    distance = torch.cdist(sample, spiral).min(1).values.mean().item()
    print(f"epoch {epoch} loss {total / 1000:.4f} mean distance of samples to the spiral {distance:.4f}")
