"""Masked image modelling on digits: hidden patches get a learned token, then are reconstructed.

Source: kefirski/pytorch_Highway#1
"""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(13)


class MaskedAutoencoder(nn.Module):
    def __init__(self, n_patches=16, patch=4, dim=24):
        super().__init__()
        self.embed = nn.Linear(patch, dim)
        self.mask_token = torch.full((1, 1, dim), 0.5, requires_grad=True)  # expect: module-not-registered
        self.pos = torch.zeros(1, n_patches, dim).normal_(std=0.3).requires_grad_()  # expect: module-not-registered
        self.mixer = nn.Sequential(nn.Flatten(), nn.Linear(n_patches * dim, 96), nn.GELU())
        self.decode = nn.Linear(96, n_patches * patch)
        self.n_patches, self.patch = n_patches, patch

    def forward(self, patches, mask):
        x = torch.where(mask.unsqueeze(2), self.mask_token, self.embed(patches)) + self.pos
        return self.decode(self.mixer(x)).view(-1, self.n_patches, self.patch)


def to_patches(images):
    return images.unfold(1, 2, 2).unfold(2, 2, 2).reshape(len(images), 16, 4)


x = to_patches(torch.tensor(load_digits().images, dtype=torch.float32) / 16)
x = x[torch.randperm(len(x))]
train, val = x[:1400], x[1400:]
val_mask = torch.rand(len(val), 16) < 0.4

model = MaskedAutoencoder()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
token_before = model.mask_token.detach().clone()

for epoch in range(5):
    model.train()
    for batch in train[torch.randperm(len(train))].split(100):
        mask = torch.rand(len(batch), 16) < 0.4
        loss = ((model(batch, mask) - batch)[mask] ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = ((model(val, val_mask) - val)[val_mask] ** 2).mean().item()
        token = (model.mask_token - token_before).norm().item()
    print(f"epoch {epoch}: masked mse {val_loss:.5f}, token moved {token:.4f}")
