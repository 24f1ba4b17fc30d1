"""A two-tower model that matches synthetic captions and pictures, in the manner of CLIP.

Source: Zasder3/train-CLIP#6
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
N = 576
meaning = torch.randn(N, 8)
pictures = torch.tanh(meaning @ torch.randn(8, 24)) + 0.1 * torch.randn(N, 24)
captions = torch.tanh(meaning @ torch.randn(8, 16)) + 0.1 * torch.randn(N, 16)


class CLIP(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.visual = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, d))
        self.text = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, d))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.2)))

    def forward(self, image, text):
        i, t = F.normalize(self.visual(image), dim=1), F.normalize(self.text(text), dim=1)
        return self.logit_scale.exp() * i @ t.t()


model = CLIP()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
train_loader = DataLoader(TensorDataset(pictures[:512], captions[:512]), batch_size=64, shuffle=True, drop_last=True)
for epoch in range(5):
    model.train()
    for image, text in train_loader:
        truth = torch.arange(len(image))
        logits = model(image, text)
        loss = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.t(), truth)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = model(pictures[512:], captions[512:])
        truth = torch.arange(len(logits))
        acc = (torch.argmax(logits, dim=1) == truth).float().mean().item()
    print(f"epoch {epoch} loss {loss.item():.4f} retrieval {acc:.4f}")
