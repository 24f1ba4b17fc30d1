"""Denoising diffusion on the two-moons points: the network predicts the noise."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons

torch.manual_seed(4)
T = 50


def load_points(n, seed):
    points, _ = make_moons(n, noise=0.05, random_state=seed)
    return torch.tensor(points, dtype=torch.float32)


train_points, valid_points = load_points(600, seed=0), load_points(200, seed=1)
mean, std = train_points.mean(dim=0), train_points.std(dim=0)
train_points = (train_points - mean) / std
valid_points = (valid_points - mean) / std

betas = torch.linspace(1e-3, 0.1, T)
alphas = 1.0 - betas
alphas_cumprod = torch.cumprod(alphas, dim=0)


class ResidualBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.lin1 = nn.Linear(width, width)
        self.lin2 = nn.Linear(width, width)

    def forward(self, x, emb):
        h = F.silu(self.lin1(self.norm(x)) + emb)
        return x + self.lin2(h)


class NoisePredictor(nn.Module):
    def __init__(self, width=48, depth=3):
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.time = nn.Embedding(T, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.outp = nn.Linear(width, 2)

    def forward(self, x, t):
        emb = self.time(t)
        x = self.inp(x)
        for block in self.blocks:
            x = block(x, emb)
        return self.outp(x)


def q_sample(x0, t, noise):
    a = alphas_cumprod[t].unsqueeze(1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def diffusion_loss(model, x0):
    t = torch.randint(T, (len(x0),))
    noise = torch.randn_like(x0)
    predicted = model(q_sample(x0, t, noise), t)
    return F.mse_loss(predicted, noise)


@torch.no_grad()
def sample(model, n):
    model.eval()
    x = torch.randn(n, 2)
    for step in reversed(range(T)):
        t = torch.full((n,), step)
        eps = model(x, t)
        x = (x - betas[step] / (1 - alphas_cumprod[step]).sqrt() * eps) / alphas[step].sqrt()
        if step > 0:
            x = x + betas[step].sqrt() * torch.randn_like(x)
    return x


@torch.no_grad()
def validation_loss(model):
    model.eval()
    return diffusion_loss(model, valid_points).item()


model = NoisePredictor()
ema_model = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
batch_size = 100

for epoch in range(5):
    model.train()
    order = torch.randperm(len(train_points))
    losses = []
    for start in range(0, len(order), batch_size):
        x0 = train_points[order[start : start + batch_size]]
        loss = diffusion_loss(model, x0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ema_model.update_parameters(model)
        losses.append(loss.item())
    print(f"epoch {epoch} train {sum(losses) / len(losses):.5f} valid {validation_loss(ema_model):.5f}")

generated = sample(ema_model, 200)
print(f"distance of samples to the data: {torch.cdist(generated, valid_points).min(dim=1).values.mean():.5f}")
